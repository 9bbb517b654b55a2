"""What is settled once per score table, before its first shard: sketches' own error, and who is worth exact scores.

Both are kept in the table's folder, so that a killed run goes on with them and every process decides alike.
"""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
from torch import Tensor

from dalcli.config.hashing import derive_seed
from dalcli.data.identity import digests
from dalcli.errors import DalcliError
from dalcli.gradients.dropout import DropoutSpec
from dalcli.gradients.projection import SketchSpec
from dalcli.gradients.sketch import sketch_of
from dalcli.scores import labeled_sketch, prescreen
from dalcli.scores.columns import Floats
from dalcli.scores.labeled_sketch import LabeledSketch, SketchReport
from dalcli.scores.prescreen import Prescreen
from dalcli.scores.settings import TableSettings
from dalcli.scoring.columns import Columns, Extras, Scoring, columns_of, seen_by_proxy
from dalcli.scoring.scorer import Scorer
from dalcli.state import catalog
from dalcli.state.catalog import PoolImage
from dalcli.state.versions import ModelVersion
from dalcli.workspace.images import ReadableImages, row_chunks, with_readable_images
from dalcli.workspace.session import Session

PRESCREEN_NAME = "prescreen.safetensors"
VISIBLE_SECONDS = 90.0  # a network file system may take that long to show a file that another machine made
COMPARED_SHARE, COMPARED_LEAST, COMPARED_MOST = 0.02, 8, 32


def kept_names(settings: TableSettings) -> set[str]:
    """The files of a table's folder that are looked after here."""
    names = {labeled_sketch.NAME} if settings.sketch else set()
    return names | {PRESCREEN_NAME} if settings.prescreened else names


def decided(folder: Path, settings: TableSettings) -> bool:
    """Whether shards made before can be gone on with: the same decision still holds for those to come."""
    return not settings.prescreened or prescreen.load(folder / PRESCREEN_NAME, settings.text()) is not None


def sketched(folder: Path, settings: TableSettings) -> LabeledSketch | None:
    """The kept sketch of G_S."""
    return labeled_sketch.load(folder / labeled_sketch.NAME, settings.text()) if settings.sketch else None


def dropout_spec(settings: TableSettings) -> DropoutSpec | None:
    """The dropout masks that a table's predictions were made under."""
    return DropoutSpec(settings.mc_seed, settings.mc_samples) if settings.mc_samples else None


def settled(folder: Path, settings: TableSettings, wait: float = 0.0) -> Extras:
    """What :func:`settle` decided, for any process; one on another machine may have to ``wait`` some seconds for it."""
    spec = SketchSpec(settings.seed, settings.sketch) if settings.sketch else None
    dropout = dropout_spec(settings)
    if not settings.prescreened:
        return Extras(spec, dropout=dropout)
    deadline = time.monotonic() + wait
    while (found := prescreen.load(folder / PRESCREEN_NAME, settings.text())) is None:
        if time.monotonic() > deadline:
            raise DalcliError(
                f"{folder / PRESCREEN_NAME} does not arrive from process 0",
                "the workspace must be one folder that all machines of a torchrun share",
            )
        time.sleep(0.5)
    return Extras(spec, found, dropout)


def settle(
    session: Session,
    model: ModelVersion,
    scorer: Scorer,
    settings: TableSettings,
    direction: dict[str, Tensor],
    micro_batch: int,
) -> None:
    """Make what is not there yet; ``direction`` is G_S on the device."""
    folder = session.workspace.score_folder(model.version)
    spec = SketchSpec(settings.seed, settings.sketch) if settings.sketch else None
    if spec is not None and sketched(folder, settings) is None:
        labeled_sketch.save(folder / labeled_sketch.NAME, _sketch(session, scorer, spec, direction), settings.text())
    if not decided(folder, settings):
        scoring = Scoring(scorer, direction, micro_batch, Extras(spec))
        found = _decide(session, model, scoring, settings)
        prescreen.save(folder / PRESCREEN_NAME, found, settings.text())


def _sketch(session: Session, scorer: Scorer, spec: SketchSpec, direction: dict[str, Tensor]) -> LabeledSketch:
    """G_S's sketch, and the error on a sample of the pool."""
    images = _pool(session)
    images = _sample(session, images, compared(len(images)), "sketch error")

    def report(opened: ReadableImages) -> SketchReport:
        count, expected = len(opened.images), math.sqrt(2 / spec.dimension)
        if count < 2:
            return SketchReport(spec.dimension, count, expected, None, None, None)
        pixels = opened.pixels.read(np.arange(count, dtype=np.int64))
        error = scorer.sketch_error(pixels, spec, direction)
        return SketchReport(
            spec.dimension, error.samples, expected, error.inner_rms, error.inner_largest, error.direction_rms
        )

    found = with_readable_images(session, images, scorer.loaded.meta.spec.image_size, report)
    return LabeledSketch(sketch_of(direction, spec).numpy(), spec.seed, found)


def compared(pool: int) -> int:
    """How many samples to compare pairwise; costs that many squared scores, about."""
    return min(pool, COMPARED_MOST, max(COMPARED_LEAST, math.isqrt(int(COMPARED_SHARE * pool))))


def _decide(session: Session, model: ModelVersion, scoring: Scoring, settings: TableSettings) -> Prescreen:
    """Learn from a random sample of the pool what to look for."""
    images = _pool(session)
    size = prescreen.calibration_size(len(images))
    if size == 0:
        session.feedback.note(f"scoring.prescreen: {len(images)} samples are too few to prescreen; all are scored")
    picked = _sample(session, images, size, "prescreen calibration")

    def learnt(opened: ReadableImages) -> Prescreen:
        ids = digests([image.sample_id for image in opened.images])
        known, seen = _calibrated(session, scoring, opened)
        seed = derive_seed(session.config.seed, "prescreen control", model.version)
        return prescreen.decide(settings.prescreen, settings.gamma, seed, ids, *seen, known)

    found = with_readable_images(session, picked, scoring.scorer.loaded.meta.spec.image_size, learnt)
    if found.proxy is None and size:
        session.feedback.warn("scoring.prescreen: nothing can be learnt from this model's gradients; all are scored")
    return found


def _calibrated(session: Session, scoring: Scoring, opened: ReadableImages) -> tuple[Columns, tuple[Floats, Floats]]:
    """Exact columns of all the images, and what a forward pass tells of them."""
    known: list[Columns] = []
    seen: list[tuple[Floats, Floats]] = []
    with session.feedback.task("prescreening", len(opened.images)) as task:
        for rows in row_chunks(len(opened.images), scoring.micro_batch):
            pixels = opened.pixels.read(rows)
            columns = columns_of(scoring.exact(pixels))
            known.append({name: columns[name] for name in columns.keys() - {"probabilities", "features"}})
            seen.append(seen_by_proxy(scoring.scorer.predict(pixels)))
            task.advance(len(rows))
    if not known:
        empty = np.empty(0)
        return {"grad_sq_norm": empty, "grad_inner": empty}, (np.empty((0, 1)), np.empty((0, 1)))
    columns = {name: np.concatenate([part[name] for part in known]) for name in known[0]}
    residuals, features = zip(*seen, strict=True)
    return columns, (np.concatenate(residuals), np.concatenate(features))


def _pool(session: Session) -> list[PoolImage]:
    with session.database.read() as connection:
        return list(catalog.images(connection, "training"))


def _sample(session: Session, images: list[PoolImage], size: int, purpose: str) -> list[PoolImage]:
    """``size`` of the images, drawn by their content."""
    ids = digests([image.sample_id for image in images])
    return [images[row] for row in prescreen.drawn(derive_seed(session.config.seed, purpose), ids, size)]
