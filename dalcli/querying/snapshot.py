"""What the workspace offers at one moment: everything that a choice depends on, read in one transaction.

A choice is made on a snapshot, with nothing locked. Whether it still holds is checked when the batch is issued.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dalcli.data.identity import digests
from dalcli.errors import NothingLeftError
from dalcli.querying import cold_start
from dalcli.querying.merged import as_counted
from dalcli.querying.request import QueryRequest
from dalcli.scores.samples import SampleSet
from dalcli.scores.store import ScoreStore
from dalcli.state import batches, catalog, classes, ledger, memories, versions
from dalcli.state.catalog import PoolImage, Purpose
from dalcli.state.database import Connection
from dalcli.state.versions import ModelVersion
from dalcli.strategies import registry
from dalcli.strategies.base import NO_ANSWERS, Answers, Memory, Strategy, Table
from dalcli.strategies.memory_table import MemoryTable
from dalcli.workspace.session import Session
from dalcli.workspace.versions import require_fresh

EVALUATION_STRATEGY = "random"
AUTO_LABELED = "auto-labeled"
"""In place of a strategy's name: drawn at random from what a model has labeled."""


@dataclass(frozen=True)
class Snapshot:
    """For choosing a batch without the database: the workspace at one moment, with nothing missing.

    Attributes:
        batch_id: the id that the next batch will have.
        eligible: the samples to choose from, at least one; evaluation samples in the order of their reserve.
        class_names: by position; of a merged class, the name of what it counts as.
        strategy_name: what chooses: the strategy asked for, or a cold start's.
        strategy: the same, set up.
        model: the version that scored ``table``; None for evaluation samples and at a cold start.
        table: what the strategy reads; None: it reads nothing, and there is no model.
        prescreen_gamma: the γ that decided which samples have exact scores; None: all have.
        labeled: sample ids of the labeled set, where there is a table.
        in_flight: sample ids of what is out, where there is a table.
        memory: what the strategy remembers since its last batch.
        answers: the labels there are, where there is a memory.
    """

    batch_id: str
    eligible: Sequence[PoolImage]
    class_names: tuple[str, ...]
    strategy_name: str
    strategy: Strategy
    model: ModelVersion | None
    table: Table | None = None
    prescreen_gamma: float | None = None
    labeled: Sequence[str] = ()
    in_flight: Sequence[str] = ()
    memory: Memory | None = None
    answers: Answers = NO_ANSWERS


@dataclass(frozen=True)
class Missing:
    """In place of a snapshot: what has to be made first, of how many samples; ``columns`` are those it is made for."""

    what: Literal["scores", "features"]
    samples: int
    columns: tuple[str, ...]


def take_snapshot(
    connection: Connection, session: Session, request: QueryRequest, features: MemoryTable | None = None
) -> Snapshot | Missing:
    """Everything a choice depends on; ``features`` are those of a cold start, once they are made.

    Raises:
        NothingLeftError: no sample is eligible.
        NotReadyError: labels are newer than the model.
        BadInputError: the configuration names an unknown strategy, or one for a cold start that needs a model.
    """
    images = catalog.eligible(connection, request.purpose, auto_labeled=request.auto_labeled)
    if not images and request.auto_labeled:
        raise NothingLeftError("no label by a model is left to check", "make some: dalcli predict --auto")
    if not images:
        raise _nothing_left(connection, request.purpose)
    model = versions.newest(connection) if request.purpose == "training" else None
    if model is not None and not request.stale_ok:
        require_fresh(connection, model, "choose")
    name, strategy = _strategy(request, model)
    table: Table | None = None
    prescreen_gamma = None
    if model is not None:
        store = ScoreStore.open(connection, session.workspace, session.config, model)
        groups = store.groups_for(strategy.columns)
        if unscored := store.count_missing(connection, groups):
            return Missing("scores", unscored, strategy.columns)
        table, prescreen_gamma = store.table(groups), _prescreen_gamma(store)
    elif strategy.columns:
        known = SampleSet(digests([image.sample_id for image in catalog.images(connection, "training")]))
        if features is None or not features.holds(known):
            return Missing("features", len(known), strategy.columns)
        table = features
    table = as_counted(table, classes.counted_as(connection))
    labeled = [] if table is None else catalog.sample_ids(connection, "training", "labeled")
    memory = None if table is None else memories.latest(connection, name)
    return Snapshot(
        batch_id=batches.next_id(connection),
        eligible=images,
        class_names=classes.meanings(connection),
        strategy_name=name,
        strategy=strategy,
        model=model,
        table=table,
        prescreen_gamma=prescreen_gamma,
        labeled=labeled,
        in_flight=() if table is None else catalog.sample_ids(connection, "training", "in flight"),
        memory=memory,
        answers=NO_ANSWERS if memory is None else _answers(connection, labeled),
    )


def _prescreen_gamma(store: ScoreStore) -> float | None:
    """The γ that decided which samples have exact scores; None: all have."""
    settings = None if store.recorded is None else store.recorded.gradients
    return settings.gamma if settings is not None and settings.prescreened else None


def _strategy(request: QueryRequest, model: ModelVersion | None) -> tuple[str, Strategy]:
    """The strategy asked for, or the cold start's while there is no model to score with."""
    if request.purpose == "evaluation":
        return EVALUATION_STRATEGY, registry.create(EVALUATION_STRATEGY, request.query)
    if request.auto_labeled:
        return AUTO_LABELED, registry.create("random", request.query)
    name = request.query.strategy
    strategy = registry.create(name, request.query)
    if model is None and strategy.columns:
        name = request.query.cold_start
        strategy = cold_start.strategy(name, request.query)
    return name, strategy


def _answers(connection: Connection, labeled: Sequence[str]) -> Answers:
    """Effective labels of the ``labeled`` samples."""
    labels = ledger.labels(connection, "training")  # of the same samples in the same order
    if len(labels) != len(labeled):
        raise ValueError(f"{len(labels)} labels of {len(labeled)} labeled samples")
    return Answers(digests(labeled), np.fromiter(labels.values(), np.int64, len(labels)))


def _nothing_left(connection: Connection, purpose: Purpose) -> NothingLeftError:
    counts = catalog.count_states(connection)[purpose]
    states = ", ".join(f"{counts[state]} {state}" for state in catalog.STATES if counts[state])
    remedy = (
        "evaluation samples are set aside when images are registered: evaluation.reserve, or a test set"
        if purpose == "evaluation"
        else "add images with `dalcli pool add`, or give outstanding ones back with `dalcli batch release`"
    )
    return NothingLeftError(
        f"no {purpose} sample is left to label: 0 unlabeled" + (f", {states}" if states else ""), remedy
    )
