"""``evaluate``: how good a model version is, on evaluation labels only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dalcli.commands.loading import load_version
from dalcli.commands.pixels import open_decodable_images
from dalcli.commands.session import Session
from dalcli.config.fingerprint import fingerprint
from dalcli.config.suggest import suggestion
from dalcli.errors import NotReadyError, UsageError
from dalcli.evaluation.metrics import Accumulator
from dalcli.state import catalog, classes, evaluations, ledger, versions
from dalcli.state.database import Connection
from dalcli.state.versions import ModelVersion
from dalcli.training.device import reproducible, resolve_device
from dalcli.training.predict import predict


@dataclass(frozen=True)
class EvaluateResult:
    """One version's report; ``labels`` is what it was trained on."""

    version: str
    labels: int
    report: dict[str, Any]


def run(session: Session, version: str | None = None) -> EvaluateResult:
    """Measure the newest (or the named) version; a measurement made before is printed again.

    Raises:
        NotReadyError: there is no model, or no evaluation label.
        UsageError: no such version.
    """
    config = session.config
    with session.database.read() as connection:
        model = _version(connection, version)
        labels = ledger.labels(connection, "evaluation")
        if not labels:
            raise _no_labels(connection)
        names = classes.names(connection)
        images = [image for image in catalog.images(connection, "evaluation") if image.key in labels]
        newer = versions.newer_labels(connection, model)
        newest = versions.newest(connection)
    if newest is not None and model.key == newest.key and newer:
        session.feedback.warn(f"{newer} labels are newer than model {model.version}: dalcli train")
    digest = ledger.digest(labels, names)
    settings = fingerprint(config.evaluation, config.data.resize, config.data.alpha_background)
    with session.database.read() as connection:
        known = evaluations.find(connection, model.key, digest, settings)
    if known is not None:
        session.feedback.note("up to date: measured before on the same labels")
        return EvaluateResult(model.version, model.labels, known)
    device = resolve_device(config.device)
    loaded = load_version(session, model, device)
    opened = open_decodable_images(session, images, loaded.meta.spec.image_size)
    if not opened.images:
        raise NotReadyError("none of the evaluation images can be read", "see `dalcli pool quarantine`")
    truth = np.array([labels[image.key] for image in opened.images], dtype=np.int64)
    accumulator = Accumulator(names, config.evaluation.calibration_bins)
    batch_size = config.scoring.batch_size
    start = 0
    with reproducible(device, config.threads):
        for logits in predict(
            loaded.model, opened.pixels, loaded.meta.pixel_stats, device, batch_size, session.feedback, "evaluating"
        ):
            accumulator.update(truth[start : start + len(logits)], _padded(logits, len(names)))
            start += len(logits)
    report = accumulator.report(config.evaluation.confidence).to_dict()
    digest = ledger.digest({image.key: labels[image.key] for image in opened.images}, names)
    with session.database.write() as connection:
        evaluations.store(connection, model.key, digest, settings, report)
    return EvaluateResult(model.version, model.labels, report)


def _padded(logits: np.ndarray[Any, Any], total: int) -> np.ndarray[Any, Any]:
    """Classes that came after a version was trained are impossible to it."""
    missing = total - logits.shape[1]
    return np.pad(logits, ((0, 0), (0, missing)), constant_values=-np.inf) if missing else logits


def _version(connection: Connection, name: str | None) -> ModelVersion:
    known = {version.version: version for version in versions.history(connection)}
    if not known:
        raise NotReadyError("there is no model yet", "train one: dalcli train")
    if name is None:
        return list(known.values())[-1]
    if name not in known:
        raise UsageError(f"--model: no version '{name}'{suggestion(name, known)}", f"known: {', '.join(known)}")
    return known[name]


def _no_labels(connection: Connection) -> NotReadyError:
    counts = catalog.count_states(connection)["evaluation"]
    if counts["in flight"]:
        remedy = "record the answers of the evaluation batch: dalcli ingest-labels FILE"
    elif counts["unlabeled"]:
        remedy = "ask for some: dalcli query --purpose evaluation --budget 100 > to_label.csv"
    else:
        remedy = "add a labeled test set: dalcli pool add --test FOLDER_OR_CSV"
    return NotReadyError("there are no evaluation labels", remedy)
