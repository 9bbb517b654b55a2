"""``status``: where the loop stands, and the command to run next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dalcli.evaluation.paired import PairedTest
from dalcli.evaluation.run import is_measured, newest_pair
from dalcli.scores.store import ScoreStore
from dalcli.state import auto_labels, batches, catalog, classes, evaluations, labeling, ledger, versions
from dalcli.state.auto_labels import AutoRun
from dalcli.state.batches import Batch
from dalcli.state.evaluations import Measurement
from dalcli.state.versions import ModelVersion
from dalcli.workspace.network import recorded
from dalcli.workspace.session import Session, model_choice, strategy_columns


@dataclass(frozen=True)
class CurvePoint:
    """One measured version, on the evaluation set it was measured on last: the learning curve consists of these."""

    version: str
    labels: int
    accuracy: float
    low: float
    high: float
    samples: int


@dataclass(frozen=True)
class StatusResult:
    """What ``status`` tells: one snapshot of the loop.

    ``auto_labels`` are the runs of ``predict --auto`` that stand. ``paired`` is the newest measured version against the
    one before; ``control_gain`` what ``evaluate --control`` found last. None where there is none.
    """

    root: str
    classes: tuple[str, ...]
    labels_per_class: dict[str, int]
    states: dict[str, dict[str, int]]
    model_name: str
    train: str
    image_size: tuple[int, int]
    model: ModelVersion | None
    training_unfinished: bool
    training_diverged: bool
    newer_labels: int
    unscored: int | None
    open_batches: tuple[Batch, ...]
    curve: tuple[CurvePoint, ...]
    paired: PairedTest | None
    control_gain: dict[str, Any] | None
    proposed_classes: dict[str, int]
    auto_labels: tuple[AutoRun, ...]
    next_step: str


def run(session: Session) -> StatusResult:
    """Read everything in one snapshot."""
    with session.database.read() as connection:
        names, merged = classes.names(connection), classes.counted_as(connection)
        counts = ledger.class_counts(connection, "training")
        states = catalog.count_states(connection)
        model = versions.newest(connection)
        newer = versions.newer_labels(connection, model) if model is not None else 0
        unscored = None
        if model is not None:
            store = ScoreStore.open(connection, session.workspace, session.config, model)
            unscored = store.count_missing(connection, store.groups_for(strategy_columns(session.config)))
        unfinished = versions.unfinished(connection)
        open_batches = tuple(batches.open_batches(connection))
        choice = model_choice(connection, session.config)
        frozen = recorded(connection, session.config)
        curve = tuple(_point(each) for each in evaluations.newest_by_version(connection))
        unmeasured = model is not None and not is_measured(connection, session.config, model)
        return StatusResult(
            root=str(session.workspace.root),
            classes=names,
            labels_per_class={names[position]: counts[position] for position in sorted(set(merged))},
            states={purpose: dict(found) for purpose, found in states.items()},
            model_name=choice.name,
            train=session.config.model.train,
            image_size=choice.image_size if frozen is None else frozen.recipe.image_size,
            model=model,
            training_unfinished=unfinished is not None,
            training_diverged=unfinished is not None and unfinished.diverged,
            newer_labels=newer,
            unscored=unscored,
            open_batches=open_batches,
            curve=curve,
            paired=newest_pair(connection, session.config),
            control_gain=evaluations.newest_gain(connection),
            proposed_classes={each.name: len(each.samples) for each in labeling.proposals(connection)},
            auto_labels=tuple(auto_labels.standing(connection)),
            next_step=_next_step(states, sum(counts.values()), model, newer, open_batches, unmeasured),
        )


def _point(measured: Measurement) -> CurvePoint:
    report: Any = measured.report
    low, high = report["accuracy_interval"]["low"], report["accuracy_interval"]["high"]
    return CurvePoint(measured.version, measured.labels, report["accuracy"], low, high, report["examples"])


def _next_step(
    states: dict[str, Any],
    labels: int,
    model: ModelVersion | None,
    newer: int,
    open_batches: tuple[Batch, ...],
    unmeasured: bool,
) -> str:
    training, evaluation = states["training"], states["evaluation"]
    if not sum(training.values()):
        return "dalcli pool add FOLDER"
    if newer if model is not None else labels:
        return "dalcli train"
    if open_batches:
        return f"dalcli ingest-labels FILE   (batch {open_batches[0].batch_id} is out)"
    if model is None:
        return "dalcli query --budget N > to_label.csv"
    if not evaluation["labeled"] and evaluation["unlabeled"]:
        return "dalcli query --purpose evaluation --budget N > to_label.csv"
    if evaluation["labeled"] and unmeasured:
        return "dalcli evaluate"
    if training["unlabeled"]:
        return "dalcli query --budget N > to_label.csv"
    if training["disputed"]:
        return "dalcli query --relabel N > again.csv"
    return "nothing: every training sample is answered"
