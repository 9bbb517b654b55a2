"""``evaluate``: how good a model version is, on evaluation labels only. Imports torch only to measure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dalcli.config.hashing import derive_seed, fingerprint
from dalcli.config.schema import Config
from dalcli.config.words import counted
from dalcli.crowd.merging import merged_logits, padded_logits
from dalcli.data.identity import digests, tie_keys
from dalcli.errors import NotReadyError
from dalcli.evaluation.metrics import Accumulator
from dalcli.evaluation.outcomes import MOST_CLASSES, Outcomes
from dalcli.evaluation.paired import PairedTest, paired_test
from dalcli.evaluation.temperature import Temperature, cross_fitted, scaled
from dalcli.state import catalog, classes, evaluations, ledger, versions
from dalcli.state.catalog import PoolImage
from dalcli.state.database import Connection
from dalcli.state.evaluations import Measurement
from dalcli.state.versions import ModelVersion
from dalcli.workspace.images import PoolImages
from dalcli.workspace.session import Session
from dalcli.workspace.versions import are_there, named_version

FORWARD_BATCH = 128  # images; without a backward pass they need little memory


@dataclass(frozen=True)
class Evaluated:
    """One version's report; ``labels`` is what it was trained on.

    Attributes:
        paired: the version against the one that was measured before it; None: there is none to compare with.
    """

    version: str
    labels: int
    report: Mapping[str, Any]
    paired: PairedTest | None


def evaluate(session: Session, version: str | None = None) -> Evaluated:
    """Measure the newest (or the named) version; a measurement made before is printed again.

    Raises:
        NotReadyError: there is no model, or no evaluation label.
        UsageError: no such version.
        DalcliError: most of the images are missing, or the model's files are damaged.
    """
    settings = _settings(session.config)
    with session.database.read() as connection:
        model = named_version(connection, version)
        labels = ledger.labels(connection, "evaluation")
        if not labels:
            raise _no_labels(connection)
        names, merged, meant = classes.names(connection), classes.counted_as(connection), classes.meanings(connection)
        known = evaluations.find(connection, model.key, ledger.digest(labels, meant), settings)
        newer = versions.newer_labels(connection, model) if model == versions.newest(connection) else 0
    if newer:
        said = counted(newer, "label is", "labels are")
        session.feedback.warn(f"{said} newer than model {model.version}: dalcli train")
    if known is not None and (_whole(known, names) or not are_there(session.workspace.model_folder(model.version))):
        session.feedback.note("up to date: measured before on the same labels")
    else:
        known = _measure(session, model, labels, names, merged)
        with session.database.write() as connection:
            measured = {key: labels[key] for key in known.samples}
            evaluations.store(
                connection,
                model.key,
                ledger.digest(measured, meant),
                settings,
                known.report,
                known.temperature,
                known.outcomes,
                known.confidences,
            )
    with session.database.read() as connection:
        paired = _against_the_one_before(connection, model.version, known.outcomes, session.config)
    return Evaluated(model.version, model.labels, known.report, paired)


def newest_pair(connection: Connection, config: Config) -> PairedTest | None:
    """The last measured version against the one measured before it, from what is stored; never computes."""
    measured = evaluations.newest_by_version(connection)
    if len(measured) < 2:
        return None
    version = measured[-1].version
    newest = evaluations.newest_of(connection, version)
    return None if newest is None else _against_the_one_before(connection, version, newest.outcomes, config)


def is_measured(connection: Connection, config: Config, model: ModelVersion) -> bool:
    """Whether ``model`` was measured on exactly the evaluation labels of now, as configured now."""
    return measured_now(connection, config, model) is not None


def measured_now(connection: Connection, config: Config, model: ModelVersion) -> Measurement | None:
    """What is stored of ``model`` on exactly the evaluation labels of now, as configured now."""
    digest = ledger.digest(ledger.labels(connection, "evaluation"), classes.meanings(connection))
    return evaluations.find(connection, model.key, digest, _settings(config))


def _settings(config: Config) -> str:
    """Changes with every setting that shapes a measurement."""
    return fingerprint(config.evaluation, config.data.resize, config.data.alpha_background)


def _whole(measurement: Measurement, names: Sequence[str]) -> bool:
    """Whether nothing is missing that an older program did not measure."""
    return None not in {measurement.outcomes, measurement.confidences} or len(names) > MOST_CLASSES


def _against_the_one_before(
    connection: Connection, version: str, outcomes: bytes | None, config: Config
) -> PairedTest | None:
    older = evaluations.before(connection, version)
    if older is None or older.outcomes is None or outcomes is None:
        return None
    newer = Outcomes.from_bytes(outcomes)
    level = config.evaluation.confidence
    return paired_test(version, newer, older.version, Outcomes.from_bytes(older.outcomes), level)


@dataclass(frozen=True)
class _Measured(Measurement):
    """Made now; ``samples`` are the keys of the images that could be read."""

    samples: tuple[int, ...] = ()


def _measure(
    session: Session, model: ModelVersion, labels: Mapping[int, int], names: Sequence[str], merged: Sequence[int]
) -> _Measured:
    """Everything about ``model`` on those images that can be read. Memory: a number per image and class, twice."""
    images, logits = _logits(session, model, labels, merged)
    if not images:
        raise NotReadyError("none of the evaluation images can be read", "see `dalcli pool quarantine`")
    settings = session.config.evaluation
    truth = np.array([labels[image.key] for image in images], dtype=np.int64)
    accumulator = Accumulator(names, settings.calibration_bins)
    accumulator.update(truth, logits)
    report = accumulator.report(settings.confidence).to_dict()
    few = len(names) <= MOST_CLASSES
    order = tie_keys(derive_seed(session.config.seed, "temperature"), digests([image.sample_id for image in images]))
    temperature = cross_fitted(truth, logits, order, settings.calibration_bins)
    return _Measured(
        version=model.version,
        labels=model.labels,
        report=report | {"temperature": _document(temperature)},
        temperature=temperature.value,
        outcomes=_outcomes(images, truth, logits).to_bytes() if few else None,
        confidences=_confidences(images, logits) if few else None,
        samples=tuple(image.key for image in images),
    )


def _logits(
    session: Session, model: ModelVersion, labels: Mapping[int, int], merged: Sequence[int]
) -> tuple[list[PoolImage], NDArray[np.float32]]:
    """The labeled images that can be read, and what the version says of them (n, classes); ``merged``: see there."""
    from dalcli.models.predict import logits_of_inputs
    from dalcli.runtime.device import reproducible, resolve_device
    from dalcli.runtime.modes import eval_mode
    from dalcli.workspace.loading import load_version

    config = session.config
    device = resolve_device(config.device)
    loaded = load_version(session, model, device)
    with session.database.read() as connection:
        images = [image for image in catalog.images(connection, "evaluation") if image.key in labels]
    seen: list[PoolImage] = []
    parts = [np.empty((0, len(merged)), np.float32)]
    batch_size = FORWARD_BATCH if config.scoring.batch_size == "auto" else config.scoring.batch_size
    with (
        reproducible(device, config.threads),
        eval_mode(loaded.model),
        PoolImages.open(session, images, loaded.meta.spec.seen) as opened,
        session.feedback.task("evaluating", len(opened)) as task,
    ):
        for block in opened.blocks(batch_size):
            logits = logits_of_inputs(loaded.model, block.inputs, loaded.meta.pixel_stats, device).numpy()
            seen += [opened.images[row] for row in block.rows]
            parts.append(merged_logits(padded_logits(logits, len(merged)), merged))
            task.advance(len(block))
    return seen, np.concatenate(parts)


def _outcomes(images: Sequence[PoolImage], truth: NDArray[np.int64], logits: NDArray[np.float32]) -> Outcomes:
    rows = np.arange(len(images))
    return Outcomes(
        sample=np.array([image.key for image in images], np.int64),
        label=truth,
        predicted=logits.argmax(axis=1),
        probability=scaled(logits, 1.0)[rows, truth].astype(np.float32),
    )


def _confidences(images: Sequence[PoolImage], logits: NDArray[np.float32]) -> bytes:
    """Of each predicted class, in the order of sample keys, as outcomes are."""
    order = np.argsort([image.key for image in images], kind="stable")
    sure: NDArray[np.float64] = scaled(logits, 1.0).max(axis=1)
    return sure[order].astype("<f4").tobytes()


def _document(temperature: Temperature) -> dict[str, Any]:
    """As JSON has it: a number that is infinite is None."""
    nll = temperature.nll
    return asdict(temperature) | {"nll": nll if nll is not None and math.isfinite(nll) else None}


def _no_labels(connection: Connection) -> NotReadyError:
    counts = catalog.count_states(connection)["evaluation"]
    if counts["in flight"]:
        remedy = "record the answers of the evaluation batch: dalcli ingest-labels FILE"
    elif counts["unlabeled"]:
        remedy = "ask for some: dalcli query --purpose evaluation --budget 100 > to_label.csv"
    else:
        remedy = "add a labeled test set: dalcli pool add --test FOLDER_OR_CSV"
    return NotReadyError("there are no evaluation labels", remedy)
