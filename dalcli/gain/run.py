"""``evaluate --control``: what choosing has gained over drawing at random so far. The first file of this room to read.

The labels are those that a version was trained on, the examples the evaluation set. Imports torch only to train.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np

from dalcli.config.hashing import fingerprint, generator, short_hash
from dalcli.config.schema import Config
from dalcli.data.pixels import IntArray
from dalcli.errors import NotReadyError
from dalcli.gain.comparison import FEWEST, Arms, Gain, compare, trainings
from dalcli.state import batches, catalog, classes, evaluations, ledger, versions
from dalcli.state.batches import Origin
from dalcli.state.catalog import PoolImage
from dalcli.state.database import Connection
from dalcli.state.versions import ModelVersion
from dalcli.workspace.images import PoolImages
from dalcli.workspace.session import Session
from dalcli.workspace.versions import named_version

HEAD_REPEATS, WHOLE_REPEATS = 20, 4
FORMAT = 1
"""Of what is stored: another number, and all is measured again."""


@dataclass(frozen=True)
class ControlGain:
    """What choosing has gained, or why that is not known (``reason``; then the numbers below are None).

    Attributes:
        version: the version whose labels were compared.
        common_labels: labels that every model was trained on: of the cold start, or that came with the images.
        active_labels: that the strategy chose; ``control_labels`` that were drawn at random.
        compared: how many labels of either kind each model was trained on, beside the common ones.
        active_accuracy: mean accuracy of the models trained on active labels; ``control_accuracy`` likewise.
        gain: their difference; ``gain_interval`` (low, high, level) is of it.
        examples: evaluation examples.
        trainings: how many models that takes.
    """

    version: str
    common_labels: int
    active_labels: int
    control_labels: int
    compared: int | None
    active_accuracy: float | None
    control_accuracy: float | None
    gain: float | None
    gain_interval: Mapping[str, float] | None
    examples: int | None
    trainings: int
    reason: str | None


@dataclass(frozen=True)
class _Situation:
    """What is compared, read in one transaction: labels and examples by sample key."""

    model: ModelVersion
    labels: Mapping[int, int]
    origins: Mapping[int, Origin]
    examples: Mapping[int, int]
    images: Sequence[PoolImage]
    evaluation: Sequence[PoolImage]
    inputs: str

    def count(self, origin: Origin) -> int:
        return sum(self.origins.get(key) == origin for key in self.labels)

    def arms(self, images: Sequence[PoolImage]) -> Arms:
        """Rows of ``images``."""
        found = [self.origins.get(image.key, "cold start") for image in images]

        def rows(origin: Origin) -> IntArray:
            return np.array([row for row, each in enumerate(found) if each == origin], np.int64)

        return Arms(rows("cold start"), rows("active"), rows("control"))


def control_gain(session: Session, version: str | None = None, retrain: bool = False) -> dict[str, Any]:
    """The gain at the newest (or the named) version, as a document; one that was measured before is given again.

    ``retrain``: also where that means to train all of a model again and again.

    Raises:
        NotReadyError: there is no model, or there are no evaluation labels.
        UsageError: no such version.
        DalcliError: most of the images are missing, or the model's files are damaged.
    """
    with session.database.read() as connection:
        situation = _situation(connection, session.config, version)
        known = evaluations.find_gain(connection, situation.model.key, situation.inputs)
    if known is not None:
        session.feedback.note("up to date: the gain was measured before on the same labels")
        return known
    planned = _planned(situation)
    reason = _reason(situation, planned, retrain)
    if reason is not None:
        return asdict(_result(situation, None, planned, reason))
    found = asdict(_result(situation, _measure(session, situation), planned, None))
    with session.database.write() as connection:
        evaluations.store_gain(connection, situation.model.key, situation.inputs, found)
    return found


def _situation(connection: Connection, config: Config, version: str | None) -> _Situation:
    model = named_version(connection, version)
    labels, origins = versions.seen_labels_today(connection, model), batches.origins(connection)
    examples = ledger.labels(connection, "evaluation")
    if not examples:
        raise NotReadyError("there are no evaluation labels", "see: dalcli evaluate")
    meanings = classes.meanings(connection)
    evaluation = catalog.images(connection, "evaluation")
    of_labels = repr(sorted((key, label, origins.get(key)) for key, label in labels.items()))
    settings = fingerprint(FORMAT, config.training, config.evaluation.confidence, config.data.resize, config.seed)
    return _Situation(
        model=model,
        labels=labels,
        origins=origins,
        examples=examples,
        images=[image for image in catalog.images(connection, "training") if image.key in labels],
        evaluation=[image for image in evaluation if image.key in examples],
        inputs=short_hash(of_labels + ledger.digest(examples, meanings) + settings),
    )


def _planned(situation: _Situation) -> int:
    return trainings(
        situation.arms(situation.images), _repeats(situation.model), exact=situation.model.penalty is not None
    )


def _repeats(model: ModelVersion) -> int:
    return WHOLE_REPEATS if model.penalty is None else HEAD_REPEATS


def _reason(situation: _Situation, planned: int, retrain: bool) -> str | None:
    """Why nothing is compared."""
    origins: tuple[Origin, ...] = ("control", "active")
    for origin in origins:
        if (count := situation.count(origin)) < FEWEST:
            return f"not enough {origin} labels: {count}, at least {FEWEST}"
    if situation.model.penalty is None and not retrain:
        return (
            f"{situation.model.version} is trained as a whole: this takes {planned} trainings"
            f"{_seconds_each(situation.model)}; pass --retrain to do them"
        )
    return None


def _seconds_each(model: ModelVersion) -> str:
    if model.finished_at is None:
        return ""
    took = datetime.fromisoformat(model.finished_at) - datetime.fromisoformat(model.started_at)
    return f" (the last one took {math.ceil(took.total_seconds())} s)"


def _measure(session: Session, situation: _Situation) -> Gain:
    from dalcli.gain.learners import learner
    from dalcli.runtime.device import reproducible, resolve_device
    from dalcli.workspace.loading import load_version

    config, model = session.config, situation.model
    whole = model.penalty is None
    device = resolve_device(config.device if whole else "cpu")  # a head is solved for on the processor
    loaded = load_version(session, model, device)
    seen, repeats = loaded.meta.spec.seen, _repeats(model)
    with (
        reproducible(device, config.threads),
        PoolImages.open(session, situation.images, seen, keep=whole) as images,
        PoolImages.open(session, situation.evaluation, seen, keep=whole) as evaluation,
    ):
        judge = learner(session, model, loaded, (images, situation.labels), (evaluation, situation.examples))
        arms = situation.arms(judge.labeled)
        if arms.compared < FEWEST:
            raise NotReadyError("too many of the labeled images can no longer be read", "see `dalcli pool quarantine`")
        random = generator(config.seed, "control gain", model.version)
        with session.feedback.task("comparing", trainings(arms, repeats, not whole), "trainings") as task:

            def counting(rows: IntArray) -> Any:
                right = judge(rows)
                task.advance()
                return right

            return compare(arms, counting, repeats, random, config.evaluation.confidence, exact=not whole)


def _result(situation: _Situation, gain: Gain | None, planned: int, reason: str | None) -> ControlGain:
    active, control = situation.count("active"), situation.count("control")
    return ControlGain(
        version=situation.model.version,
        common_labels=len(situation.labels) - active - control,
        active_labels=active,
        control_labels=control,
        compared=None if gain is None else gain.compared,
        active_accuracy=None if gain is None else gain.active_accuracy,
        control_accuracy=None if gain is None else gain.control_accuracy,
        gain=None if gain is None else gain.gain,
        gain_interval=None if gain is None else gain.interval._asdict(),
        examples=None if gain is None else gain.examples,
        trainings=planned,
        reason=reason,
    )
