"""``evaluate``: how good a model version is, on evaluation labels only. Imports torch only to measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dalcli.config.hashing import fingerprint
from dalcli.config.words import counted
from dalcli.crowd.merging import merged_logits
from dalcli.errors import NotReadyError
from dalcli.evaluation.metrics import Accumulator
from dalcli.state import catalog, classes, evaluations, ledger, versions
from dalcli.state.database import Connection
from dalcli.state.versions import ModelVersion
from dalcli.workspace.images import PoolImages
from dalcli.workspace.session import Session
from dalcli.workspace.versions import named_version

FORWARD_BATCH = 128  # images; without a backward pass they need little memory


@dataclass(frozen=True)
class EvaluateResult:
    """One version's report; ``labels`` is what it was trained on."""

    version: str
    labels: int
    report: dict[str, Any]


def evaluate(session: Session, version: str | None = None) -> EvaluateResult:
    """Measure the newest (or the named) version; a measurement made before is printed again.

    Raises:
        NotReadyError: there is no model, or no evaluation label.
        UsageError: no such version.
        DalcliError: most of the images are missing, or the model's files are damaged.
    """
    config = session.config
    settings = fingerprint(config.evaluation, config.data.resize, config.data.alpha_background)
    with session.database.read() as connection:
        model = named_version(connection, version)
        labels = ledger.labels(connection, "evaluation")
        if not labels:
            raise _no_labels(connection)
        names, merged = classes.names(connection), classes.counted_as(connection)
        # After a merge the same labels are another question, whether or not one of them was of a merged class.
        meant = tuple(names[position] for position in merged)
        known = evaluations.find(connection, model.key, ledger.digest(labels, meant), settings)
        newer = versions.newer_labels(connection, model) if model == versions.newest(connection) else 0
    if newer:
        said = counted(newer, "label is", "labels are")
        session.feedback.warn(f"{said} newer than model {model.version}: dalcli train")
    if known is not None:
        session.feedback.note("up to date: measured before on the same labels")
        return EvaluateResult(model.version, model.labels, known)
    measured, report = _measure(session, model, labels, names, merged)
    with session.database.write() as connection:
        evaluations.store(connection, model.key, ledger.digest(measured, meant), settings, report)
    return EvaluateResult(model.version, model.labels, report)


def _measure(
    session: Session, model: ModelVersion, labels: Mapping[int, int], names: Sequence[str], merged: Sequence[int]
) -> tuple[dict[int, int], dict[str, Any]]:
    """The report, and the labels of those images that could be read."""
    from dalcli.models.predict import logits_of_inputs
    from dalcli.runtime.device import reproducible, resolve_device
    from dalcli.runtime.modes import eval_mode
    from dalcli.workspace.loading import load_version

    config = session.config
    device = resolve_device(config.device)
    loaded = load_version(session, model, device)
    with session.database.read() as connection:
        images = [image for image in catalog.images(connection, "evaluation") if image.key in labels]

    measured: dict[int, int] = {}
    accumulator = Accumulator(names, config.evaluation.calibration_bins)
    batch_size = FORWARD_BATCH if config.scoring.batch_size == "auto" else config.scoring.batch_size
    with (
        reproducible(device, config.threads),
        eval_mode(loaded.model),
        PoolImages.open(session, images, loaded.meta.spec.seen) as opened,
        session.feedback.task("evaluating", len(opened)) as task,
    ):
        for block in opened.blocks(batch_size):
            keys = [opened.images[row].key for row in block.rows]
            logits = logits_of_inputs(loaded.model, block.inputs, loaded.meta.pixel_stats, device).numpy()
            accumulator.update(
                np.array([labels[key] for key in keys], dtype=np.int64),
                merged_logits(_padded(logits, len(names)), merged),
            )
            measured |= {key: labels[key] for key in keys}
            task.advance(len(block))
    if not measured:
        raise NotReadyError("none of the evaluation images can be read", "see `dalcli pool quarantine`")
    return measured, accumulator.report(config.evaluation.confidence).to_dict()


def _padded(logits: NDArray[np.float32], total: int) -> NDArray[np.float32]:
    """Classes that came after a version was trained are impossible to it."""
    missing = total - logits.shape[1]
    return np.pad(logits, ((0, 0), (0, missing)), constant_values=-np.inf) if missing else logits


def _no_labels(connection: Connection) -> NotReadyError:
    counts = catalog.count_states(connection)["evaluation"]
    if counts["in flight"]:
        remedy = "record the answers of the evaluation batch: dalcli ingest-labels FILE"
    elif counts["unlabeled"]:
        remedy = "ask for some: dalcli query --purpose evaluation --budget 100 > to_label.csv"
    else:
        remedy = "add a labeled test set: dalcli pool add --test FOLDER_OR_CSV"
    return NotReadyError("there are no evaluation labels", remedy)
