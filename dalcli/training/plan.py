"""What ``train`` has to do, decided from the database and the configuration alone. Never imports torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from dalcli.config.hashing import fingerprint
from dalcli.config.schema import Config
from dalcli.data.network import NetworkRecord
from dalcli.errors import NotReadyError
from dalcli.feedback import Feedback
from dalcli.models.spec import ModelSpec, resolve_stem
from dalcli.state import auto_labels, catalog, classes, ledger, versions
from dalcli.state.database import Connection
from dalcli.state.versions import ModelVersion
from dalcli.workspace.network import frozen_network, recorded
from dalcli.workspace.session import ModelChoice, Session, model_choice
from dalcli.workspace.versions import are_there

NAMES_SHOWN = 5


@dataclass(frozen=True)
class TrainPlan:
    """What is to be trained, fixed when ``train`` starts: labels that come in meanwhile wait for the next one.

    Attributes:
        names: the ordered class list.
        founding_names: what its classes were called at first: a new name is no new training.
        counted_as: by position, the class that each counts as: itself, unless it was merged.
        labels: the labeled set S, sample key → class position; not empty.
        spec: the architecture.
        fingerprint: of every setting that shapes training.
        newest: the newest finished version, if any.
        parent: the newest version whose files are still there: where a warm start starts.
        unfinished: what a killed ``train`` left.
        newer: how many labels ``newest`` has not seen.
    """

    names: tuple[str, ...]
    labels: Mapping[int, int]
    spec: ModelSpec
    fingerprint: str
    newest: ModelVersion | None
    parent: ModelVersion | None
    unfinished: ModelVersion | None
    newer: int
    founding_names: tuple[str, ...]
    counted_as: tuple[int, ...]

    @property
    def digest(self) -> str:
        """A name for exactly this labeled set and class list."""
        return ledger.digest(self.labels, self.founding_names)

    @property
    def done(self) -> ModelVersion | None:
        """The version that makes training superfluous: these labels, classes and settings, and its files are there."""
        newest = self.newest
        if newest is None or newest != self.parent or self.newer:
            return None
        same = (newest.fingerprint, newest.classes) == (self.fingerprint, len(self.names))
        return newest if same else None


def make_plan(session: Session) -> TrainPlan:
    """Read everything in one snapshot; a frozen network that is needed for the first time is adopted before.

    Raises:
        NotReadyError: there are no labels.
        BadInputError: the frozen network cannot be had.
    """
    config = session.config
    with session.database.read() as connection:
        if not labeled(connection, config):
            raise _no_labels(connection)
    frozen = frozen_network(session)
    with session.database.read() as connection:
        names = classes.names(connection)
        labels = labeled(connection, config)
        if not labels:
            raise _no_labels(connection)
        choice = model_choice(connection, config)
        newest = versions.newest(connection)
        origin = None if frozen is not None else recorded(connection, config)
        return TrainPlan(
            names=names,
            labels=labels,
            spec=model_spec(config, choice, len(names), frozen, origin),
            fingerprint=_fingerprint(config, choice, frozen, origin),
            newest=newest,
            parent=_with_files(session, connection, newest),
            unfinished=versions.unfinished(connection),
            newer=_newer(connection, config, newest) if newest is not None else len(labels),
            founding_names=classes.founding_names(connection),
            counted_as=classes.counted_as(connection),
        )


def labeled(connection: Connection, config: Config) -> dict[int, int]:
    """What can be trained on: sample key → class. People's labels, and where that is wanted a model's beside them."""
    labels = ledger.labels(connection, "training")
    return auto_labels.labels(connection) | labels if config.training.auto_labels else labels


def _newer(connection: Connection, config: Config, newest: ModelVersion) -> int:
    more = auto_labels.not_seen_by(connection, newest.key) if config.training.auto_labels else 0
    return versions.newer_labels(connection, newest) + more


def _fingerprint(
    config: Config, choice: ModelChoice, frozen: NetworkRecord | None, origin: NetworkRecord | None
) -> str:
    """Changes with every setting that shapes training."""
    data, training = config.data, config.training
    by_models = ["auto labels"] if training.auto_labels else []
    if frozen is not None:
        return fingerprint(
            "head",
            frozen.fingerprint,
            training.penalty,
            training.class_weights,
            data.alpha_background,
            data.features,
            config.seed,
            *by_models,
        )
    return fingerprint(
        config.model.model_dump(mode="json", exclude={"train"}),  # of heads, and younger than the first versions
        training.model_dump(mode="json", exclude={"penalty", "class_weights", "auto_labels"}),
        data.resize,
        data.alpha_background,
        choice.name,
        choice.image_size,
        config.seed,
        *([] if origin is None else [origin.fingerprint]),
        *by_models,
    )


def model_spec(
    config: Config,
    choice: ModelChoice,
    num_classes: int,
    frozen: NetworkRecord | None = None,
    origin: NetworkRecord | None = None,
) -> ModelSpec:
    """The architecture to be trained; ``choice`` is what ``auto`` stands for.

    ``frozen`` is what a head is trained on, ``origin`` what was frozen before all of it is trained.
    """
    network = frozen or origin
    if network is not None:
        size, weights = network.recipe.image_size, network.weights
        return ModelSpec(choice.name, num_classes, size, "large", weights=weights, frozen=frozen, origin=origin)
    return ModelSpec(
        name=choice.name,
        num_classes=num_classes,
        image_size=choice.image_size,
        stem=resolve_stem(choice.image_size, config.model.stem),
        dropout=config.model.dropout,
        weights=config.model.weights,
    )


def warn_of_unlabeled_classes(plan: TrainPlan, feedback: Feedback) -> None:
    """Say which classes the model cannot learn: a network that only ever sees one class converges at once, too."""
    counts = Counter(plan.labels.values())
    if len(counts) == 1:
        (only,) = (plan.names[position] for position in counts)
        count = len(plan.labels)
        labels = "the only label is of class" if count == 1 else f"all {count} labels are of one class,"
        feedback.warn(f"{labels} {only}: the model cannot tell classes apart before others are labeled, too")
        return
    active = [position for position, target in enumerate(plan.counted_as) if target == position]
    missing = [plan.names[position] for position in active if not counts[position]]
    if missing:
        shown = ", ".join([*missing[:NAMES_SHOWN], *(["..."] if len(missing) > NAMES_SHOWN else [])])
        have = "has" if len(missing) == 1 else "have"
        feedback.warn(f"{len(missing)} of {len(active)} classes {have} no label yet: {shown}")


def _with_files(session: Session, connection: Connection, newest: ModelVersion | None) -> ModelVersion | None:
    def complete(version: ModelVersion) -> bool:
        return are_there(session.workspace.model_folder(version.version))

    if newest is None or complete(newest):
        return newest
    return next((version for version in reversed(versions.history(connection)) if complete(version)), None)


def _no_labels(connection: Connection) -> NotReadyError:
    counts = catalog.count_states(connection)["training"]
    if counts["in flight"]:
        remedy = "record the answers: dalcli ingest-labels FILE"
    elif counts["unlabeled"]:
        remedy = "hand images out with `dalcli query --budget N > to_label.csv`, then `dalcli ingest-labels FILE`"
    elif counts["quarantined"]:
        remedy = "all labeled images are unreadable: see `dalcli pool quarantine`"
    else:
        remedy = "add images: dalcli pool add FOLDER"
    return NotReadyError("there are no labels to train on", remedy)
