"""What is settled once for all gradient columns of a table, before its first shard: sketches' own error, and who is
worth exact scores.

Both are kept in the table's folder, so that a killed run goes on with them and every process decides alike.
"""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np

from dalcli.config.hashing import derive_seed
from dalcli.data.identity import digests
from dalcli.errors import DalcliError
from dalcli.gradients.dropout import DropoutSpec
from dalcli.gradients.projection import SketchSpec
from dalcli.gradients.sketch import sketch_error, sketch_of
from dalcli.models.spec import Seen
from dalcli.scores import labeled_sketch, prescreen
from dalcli.scores.columns import Floats
from dalcli.scores.labeled_sketch import LabeledSketch, SketchReport
from dalcli.scores.prescreen import Prescreen
from dalcli.scores.settings import TableSettings
from dalcli.scoring.columns import Columns, Extras, Scoring, seen_by_proxy
from dalcli.state import catalog
from dalcli.state.versions import ModelVersion
from dalcli.workspace.images import PoolImages
from dalcli.workspace.session import Session

PRESCREEN_NAME = "prescreen.safetensors"
VISIBLE_SECONDS = 90.0  # a network file system may take that long to show a file that another machine made
COMPARED_SHARE, COMPARED_LEAST, COMPARED_MOST = 0.02, 8, 32


def kept_names(settings: TableSettings) -> set[str]:
    """The files of a table's folder that are looked after here."""
    made = settings.gradients
    if made is None:
        return set()
    names = {labeled_sketch.NAME} if made.sketch else set()
    return names | {PRESCREEN_NAME} if made.prescreened else names


def decided(folder: Path, settings: TableSettings) -> bool:
    """Whether shards made before can be gone on with: the same decision still holds for those to come."""
    if settings.gradients is None or not settings.gradients.prescreened:
        return True
    return prescreen.load(folder / PRESCREEN_NAME, settings.gradient_key) is not None


def sketched(folder: Path, settings: TableSettings) -> LabeledSketch | None:
    """The kept sketch of G_S."""
    if settings.gradients is None or not settings.gradients.sketch:
        return None
    return labeled_sketch.load(folder / labeled_sketch.NAME, settings.gradient_key)


def unsketched(folder: Path, settings: TableSettings) -> bool:
    """Whether the error of sketches is still to be measured."""
    made = settings.gradients
    return made is not None and bool(made.sketch) and sketched(folder, settings) is None


def sketch_spec(settings: TableSettings) -> SketchSpec | None:
    """The map that a table's sketches were made by."""
    made = settings.gradients
    return SketchSpec(made.sketch_seed, made.sketch) if made is not None and made.sketch else None


def dropout_spec(settings: TableSettings) -> DropoutSpec | None:
    """The dropout masks that a table's predictions were made under."""
    made = settings.dropout
    return None if made is None else DropoutSpec(made.seed, made.samples)


def settled(folder: Path, settings: TableSettings, wait: float = 0.0) -> Extras:
    """What :func:`settle` decided, for any process; one on another machine may have to ``wait`` some seconds for it."""
    spec, dropout = sketch_spec(settings), dropout_spec(settings)
    if settings.gradients is None or not settings.gradients.prescreened:
        return Extras(spec, dropout=dropout)
    deadline = time.monotonic() + wait
    while (found := prescreen.load(folder / PRESCREEN_NAME, settings.gradient_key)) is None:
        if time.monotonic() > deadline:
            raise DalcliError(
                f"{folder / PRESCREEN_NAME} does not arrive from process 0",
                "the workspace must be one folder that all machines of a torchrun share",
            )
        time.sleep(0.5)
    return Extras(spec, found, dropout)


def settle(session: Session, model: ModelVersion, settings: TableSettings, scoring: Scoring) -> None:
    """Make what is not there yet; ``scoring`` has G_S and no extras. For rank 0, which alone may set images aside."""
    folder = session.workspace.score_folder(model.version)
    spec = sketch_spec(settings)
    if spec is not None and sketched(folder, settings) is None:
        sketch = _sketch(session, scoring, spec)
        labeled_sketch.save(folder / labeled_sketch.NAME, sketch, settings.gradient_key)
    if not decided(folder, settings):
        plain = Scoring(scoring.scorer, scoring.direction, scoring.micro_batch, Extras(spec))
        prescreen.save(folder / PRESCREEN_NAME, _decide(session, model, plain, settings), settings.gradient_key)


def _sketch(session: Session, scoring: Scoring, spec: SketchSpec) -> LabeledSketch:
    """G_S's sketch, and the error on a sample of the pool."""
    with _sample(session, _seen_by(scoring), compared(_pool_size(session)), "sketch error") as images:
        blocks = [block.inputs for block in images.blocks(scoring.micro_batch)]
    vector = sketch_of(scoring.direction, spec).numpy()
    count, expected = sum(map(len, blocks)), math.sqrt(2 / spec.dimension)
    if count < 2:
        return LabeledSketch(vector, spec.seed, SketchReport(spec.dimension, count, expected, None, None, None))
    inputs = scoring.scorer.inputs(np.concatenate(blocks))
    error = sketch_error(scoring.scorer.engine, inputs, spec, scoring.direction)
    report = SketchReport(
        dimension=spec.dimension,
        samples=error.samples,
        expected=expected,
        inner_rms=error.inner_rms,
        inner_largest=error.inner_largest,
        direction_rms=error.direction_rms,
    )
    return LabeledSketch(vector, spec.seed, report)


def compared(pool: int) -> int:
    """How many samples to compare pairwise; costs that many squared scores, about."""
    return min(pool, COMPARED_MOST, max(COMPARED_LEAST, math.isqrt(int(COMPARED_SHARE * pool))))


def _decide(session: Session, model: ModelVersion, scoring: Scoring, settings: TableSettings) -> Prescreen:
    """Learn from a random sample of the pool what to look for."""
    assert settings.gradients is not None
    pool = _pool_size(session)
    size = prescreen.calibration_size(pool)
    if size == 0:
        session.feedback.note(f"scoring.prescreen: {pool} samples are too few to prescreen; all are scored")
    with _sample(session, _seen_by(scoring), size, "prescreen calibration") as images:
        ids, known, seen = _calibrated(session, scoring, images)
    found = prescreen.decide(
        settings.gradients.prescreen,
        settings.gradients.gamma,
        derive_seed(session.config.seed, "prescreen control", model.version),
        ids,
        *seen,
        known,
    )
    if found.proxy is None and size:
        session.feedback.warn("scoring.prescreen: nothing can be learnt from this model's gradients; all are scored")
    return found


def _calibrated(
    session: Session, scoring: Scoring, images: PoolImages
) -> tuple[np.ndarray, Columns, tuple[Floats, Floats]]:
    """Digests and exact columns of the images that can be read, and what a forward pass tells of them."""
    rows: list[int] = []
    known: list[Columns] = []
    seen: list[tuple[Floats, Floats]] = []
    engine = scoring.scorer.engine
    with session.feedback.task("prescreening", len(images)) as task:
        for block in images.blocks(scoring.micro_batch):
            columns = scoring.exact(block.inputs)
            known.append({name: columns[name] for name in columns.keys() - {"probabilities", "features"}})
            seen.append(seen_by_proxy(engine.predict(scoring.scorer.inputs(block.inputs))))
            rows += block.rows.tolist()
            task.advance(len(block))
    ids = digests([images.images[row].sample_id for row in rows])
    if not known:
        empty = np.empty(0)
        return ids, {"grad_sq_norm": empty, "grad_inner": empty}, (np.empty((0, 1)), np.empty((0, 1)))
    columns = {name: np.concatenate([part[name] for part in known]) for name in known[0]}
    residuals, features = zip(*seen, strict=True)
    return ids, columns, (np.concatenate(residuals), np.concatenate(features))


def _seen_by(scoring: Scoring) -> Seen:
    return scoring.scorer.loaded.meta.spec.seen


def _pool_size(session: Session) -> int:
    with session.database.read() as connection:
        return len(catalog.readable_ids(connection, "training"))


def _sample(session: Session, seen: Seen, count: int, purpose: str) -> PoolImages:
    """``count`` images of the pool, drawn by their content."""
    with session.database.read() as connection:
        images = catalog.images(connection, "training")
    ids = digests([image.sample_id for image in images])
    rows = prescreen.drawn(derive_seed(session.config.seed, purpose), ids, count)
    return PoolImages.open(session, [images[row] for row in rows], seen)
