"""Choosing a new batch: what the workspace offers at one moment, and which samples a strategy takes from it.

A choice is made on a snapshot, with nothing locked. Whether it still holds is checked when the batch is issued.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dalcli.config.hashing import derive_seed
from dalcli.config.schema import QueryConfig
from dalcli.data.identity import digests, id_from_digest
from dalcli.errors import NothingLeftError
from dalcli.formats import batch_csv
from dalcli.querying import cold_start
from dalcli.querying.prescreened import other_gamma, select_exact
from dalcli.scores.samples import SampleSet
from dalcli.scores.store import ScoreStore
from dalcli.scores.table import ScoreTable
from dalcli.state import batches, catalog, classes, ledger, memories, versions
from dalcli.state.batches import BatchRow
from dalcli.state.catalog import PoolImage, Purpose
from dalcli.state.database import Connection
from dalcli.state.versions import ModelVersion
from dalcli.state.workspace import Workspace
from dalcli.strategies import registry
from dalcli.strategies.base import NO_ANSWERS, Answers, Memory, Request, Selection, Strategy, Table
from dalcli.strategies.memory_table import MemoryTable
from dalcli.workspace.session import Session
from dalcli.workspace.versions import require_fresh

EVALUATION_STRATEGY = "random"


@dataclass(frozen=True)
class Wish:
    """What is to be chosen: the command line's options, with the configuration where they say nothing."""

    budget: int
    purpose: Purpose
    query: QueryConfig
    stale_ok: bool


@dataclass(frozen=True)
class Situation:
    """The workspace at one moment, as far as a new batch depends on it."""

    batch_id: str
    eligible: Sequence[PoolImage]
    class_names: tuple[str, ...]
    strategy_name: str
    strategy: Strategy
    model: ModelVersion | None
    unscored: int
    table: ScoreTable | MemoryTable | None
    labeled: Sequence[str] = ()
    in_flight: Sequence[str] = ()
    prescreen_gamma: float | None = None
    memory: Memory | None = None
    answers: Answers = NO_ANSWERS
    needs_features: bool = False

    @property
    def needs_scores(self) -> bool:
        """Whether `score` has to run first: for the strategy, or for the pseudo-labels beside its choice."""
        return self.unscored > 0


@dataclass(frozen=True)
class Choice:
    """A batch that can be issued, provided that nobody else took its id or its samples meanwhile."""

    batch_id: str
    images: Sequence[PoolImage]
    rows: Sequence[BatchRow]
    csv: bytes
    strategy: str
    model: ModelVersion | None
    non_finite: int
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    memory: Memory | None = None


def look(connection: Connection, session: Session, wish: Wish, features: MemoryTable | None = None) -> Situation:
    """Everything a choice depends on, from one snapshot; ``features`` are those of a cold start, once they are made.

    Raises:
        NothingLeftError: no sample is eligible.
        NotReadyError: labels are newer than the model.
        BadInputError: the configuration names an unknown strategy, or one for a cold start that needs a model.
    """
    images = catalog.eligible(connection, wish.purpose)
    if not images:
        raise _nothing_left(connection, wish.purpose)
    model = versions.newest(connection) if wish.purpose == "training" else None
    if model is not None and not wish.stale_ok:
        require_fresh(connection, model, "choose")
    name, strategy = _strategy(wish, model)
    unscored, settings = 0, None
    table: ScoreTable | MemoryTable | None = None
    needs_features = False
    if model is not None:
        store = ScoreStore.open(connection, session.workspace, session.config, model)
        groups = store.groups_for(strategy.columns)
        unscored = len(store.missing(connection, groups))
        settings = None if store.recorded is None else store.recorded.gradients
        table = None if unscored else store.table(groups)
    elif strategy.columns:
        known = SampleSet(digests([image.sample_id for image in catalog.images(connection, "training")]))
        needs_features = features is None or not features.holds(known)
        table = None if needs_features else features
    labeled = catalog.sample_ids(connection, "training", "labeled") if table is not None else []
    memory = memories.latest(connection, name) if table is not None else None
    return Situation(
        batch_id=batches.next_id(connection),
        eligible=images,
        class_names=classes.names(connection),
        strategy_name=name,
        strategy=strategy,
        model=model,
        unscored=unscored,
        table=table,
        labeled=labeled,
        in_flight=catalog.sample_ids(connection, "training", "in flight") if table is not None else (),
        prescreen_gamma=settings.gamma if settings is not None and settings.prescreened else None,
        needs_features=needs_features,
        memory=memory,
        answers=NO_ANSWERS if memory is None else _answers(connection, labeled),
    )


def choose(session: Session, wish: Wish, situation: Situation) -> Choice:
    """The batch itself. Evaluation samples come in the order of the reserve, training samples by the strategy."""
    if wish.purpose == "evaluation":
        images = situation.eligible[: wish.budget]
        rows = [_row(rank, image, EVALUATION_STRATEGY, "evaluation") for rank, image in enumerate(images, 1)]
        return _choice(session.workspace, situation, images, rows, non_finite=0)
    request = Request(
        budget=wish.budget,
        eligible=SampleSet(digests([image.sample_id for image in situation.eligible])),
        seed=derive_seed(session.config.seed, "query", situation.batch_id),
        table=situation.table,
        labeled=SampleSet(digests(situation.labeled)),
        in_flight=SampleSet(digests(situation.in_flight)),
        memory_limit=wish.query.memory_limit,
        memory=situation.memory,
        answers=situation.answers,
    )
    selection = select_exact(situation.strategy, request)
    by_id = {image.sample_id: image for image in situation.eligible}
    images = [by_id[id_from_digest(bytes(digest))] for digest in selection.digests]
    rows = [_row(rank, image, situation.strategy_name, "active") for rank, image in enumerate(images, 1)]
    rows = _with_predictions(_with_values(rows, selection), selection, situation.table)
    choice = _choice(session.workspace, situation, images, rows, selection.non_finite)
    warning = other_gamma(situation.strategy.columns, wish.query.gamma, situation.prescreen_gamma)
    warnings = () if warning is None else (warning,)
    return replace(choice, notes=selection.notes, warnings=warnings, memory=selection.memory)


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


def _strategy(wish: Wish, model: ModelVersion | None) -> tuple[str, Strategy]:
    """The strategy asked for, or the cold start's while there is no model to score with."""
    if wish.purpose == "evaluation":
        return EVALUATION_STRATEGY, registry.create(EVALUATION_STRATEGY, wish.query)
    name = wish.query.strategy
    strategy = registry.create(name, wish.query)
    if model is None and strategy.columns:
        name = wish.query.cold_start
        strategy = cold_start.strategy(name, wish.query)
    return name, strategy


def _row(rank: int, image: PoolImage, strategy: str, arm: str) -> BatchRow:
    return BatchRow(rank, image.key, score=None, pseudo_label=None, confidence=None, strategy=strategy, arm=arm)


def _with_values(rows: Sequence[BatchRow], selection: Selection) -> list[BatchRow]:
    if selection.values is None:
        return list(rows)
    values = [None if math.isnan(value) else float(value) for value in selection.values]
    return [replace(row, score=value) for row, value in zip(rows, values, strict=True)]


def _with_predictions(rows: Sequence[BatchRow], selection: Selection, table: Table | None) -> list[BatchRow]:
    if table is None or "probabilities" not in table.layout:  # without a model
        return list(rows)
    probabilities = table.lookup(selection.digests, ["probabilities"])["probabilities"]
    return [
        replace(row, pseudo_label=int(p.argmax()), confidence=_shortest(p.max()))
        for row, p in zip(rows, probabilities, strict=True)
    ]


def _shortest(value: np.float32) -> float:
    """The float that prints as shortly as the float32 does: 0.9, not 0.8999999761581421."""
    return float(str(value))


def _choice(
    workspace: Workspace, situation: Situation, images: Sequence[PoolImage], rows: Sequence[BatchRow], non_finite: int
) -> Choice:
    names = situation.class_names
    csv = batch_csv.render_batch(
        batch_csv.BatchRow(
            sample_id=image.sample_id,
            path=_name_today(workspace, image),
            rank=row.rank,
            score=row.score,
            pseudo_label=None if row.pseudo_label is None else names[row.pseudo_label],
            confidence=row.confidence,
            strategy=row.strategy,
            arm=row.arm,
            batch_id=situation.batch_id,
        )
        for image, row in zip(images, rows, strict=True)
    )
    return Choice(situation.batch_id, images, rows, csv, situation.strategy_name, situation.model, non_finite)


def _name_today(workspace: Workspace, image: PoolImage) -> str:
    """Of several known names the first under which the file is there: images are moved and renamed."""
    if len(image.files) < 2:
        return image.path
    paths: list[Path] = [workspace.absolute_path(seen.path) for seen in image.files]
    there = (seen.path for seen, path in zip(image.files, paths, strict=True) if path.exists())
    return next(there, image.path)
