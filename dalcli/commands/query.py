"""``query``: hand out the samples worth labeling next.

A batch is committed first and printed after. Until it is answered or released, the same query prints the same
bytes again, so a cron job that runs twice, or a lost terminal, costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dalcli.commands.session import Session
from dalcli.config.seeding import derive_seed
from dalcli.config.suggest import suggestion
from dalcli.data.identity import digests, id_from_digest
from dalcli.errors import DalcliError, NothingLeftError, NotReadyError, UsageError
from dalcli.formats import batch_csv
from dalcli.scoring.table import ScoreTable
from dalcli.state import batches, catalog, classes, scores, versions
from dalcli.state.batches import Batch, BatchRow
from dalcli.state.catalog import PoolImage, Purpose
from dalcli.state.database import Connection
from dalcli.state.versions import ModelVersion
from dalcli.strategies import registry
from dalcli.strategies.base import Request, Selection, Strategy
from dalcli.strategies.samples import SampleSet

EVALUATION_STRATEGY = "random"
ATTEMPTS = 10


@dataclass(frozen=True)
class Options:
    """What the command line asked for; None means: as configured."""

    budget: int | None = None
    purpose: Purpose = "training"
    strategy: str | None = None
    gamma: float | None = None
    new: bool = False
    key: str | None = None
    stale_ok: bool = False
    wait: float = 0.0


@dataclass(frozen=True)
class QueryResult:
    """The batch's bytes, exactly as they are to be printed."""

    batch_id: str
    csv: bytes


@dataclass(frozen=True)
class _Choice:
    """A batch that could be issued, provided that nothing changed meanwhile."""

    images: Sequence[PoolImage]
    rows: Sequence[BatchRow]
    model: ModelVersion | None
    moment: tuple[int, int]


class _Changed(Exception):
    """Another process issued a batch or recorded labels while this one was choosing."""


def run(session: Session, options: Options) -> QueryResult:
    """Print an open batch again, or issue a new one.

    Raises:
        UsageError: the budget, strategy or key is wrong.
        NotReadyError: an open batch has other options, or labels are newer than the model.
        NothingLeftError: no sample is eligible.
    """
    query = _Query(session, options)
    for _ in range(ATTEMPTS):
        with session.database.read() as connection:
            known = query.stored(connection)
        if known is not None:
            return known
        choice = query.choose()
        try:
            return query.issue(choice)
        except _Changed:
            continue
    raise DalcliError("other processes keep changing the workspace while this query is choosing", "try again")


class _Query:
    def __init__(self, session: Session, options: Options) -> None:
        self.session = session
        self.options = options
        self.config = session.config.query
        self.feedback = session.feedback
        if options.key is not None and not options.new:
            raise UsageError("--key names a new batch", "pass --new --key TEXT")
        budget = options.budget if options.budget is not None else self.config.budget
        if budget is None:
            raise UsageError("no budget given", "pass --budget N, or set query.budget in dalcli.yaml")
        if budget < 1:
            raise UsageError(f"--budget {budget} is out of range", "ask for at least 1 sample")
        self.budget = budget
        self.gamma = options.gamma if options.gamma is not None else self.config.gamma
        self.strategy = options.strategy or self.config.strategy
        self.typed = {
            "budget": budget,
            "purpose": options.purpose,
            "strategy": options.strategy,
            "gamma": None if options.gamma is None else repr(options.gamma),
        }
        self.effective = {**self.typed, "strategy": self.strategy, "gamma": repr(self.gamma)}
        self._create(self.strategy)  # a misspelt name fails before anything else

    def _create(self, name: str) -> Strategy:
        if name == self.options.strategy and name not in registry.STRATEGIES:
            raise UsageError(
                f"--strategy: unknown strategy '{name}'{suggestion(name, registry.STRATEGIES)}",
                f"choose one of: {', '.join(registry.STRATEGIES)}",
            )
        key = "query.cold_start" if name == self.config.cold_start != self.strategy else "query.strategy"
        return registry.create(name, self.config.model_copy(update={"gamma": self.gamma}), key)

    # What is stored already ------------------------------------------------------------------------------------

    def stored(self, connection: Connection) -> QueryResult | None:
        """The batch to print again, if there is one."""
        if self.options.key is not None:
            return self._stored_under_key(connection, self.options.key)
        if self.options.new:
            return None
        open_ones = batches.open_batches(connection)
        matching = [batch for batch in open_ones if self._same_options(batch)]
        if matching:
            return self._print_again(connection, matching[-1])
        if open_ones:
            batch = open_ones[-1]
            raise NotReadyError(
                f"batch {batch.batch_id} ({batch.purpose}, {batch.requested} asked) is open with other options: "
                f"{batch.answered} of {batch.issued} answered",
                f"label it, run `dalcli batch release {batch.batch_id}`, or pass --new for another batch beside it",
            )
        return None

    def _stored_under_key(self, connection: Connection, key: str) -> QueryResult | None:
        batch = batches.with_key(connection, key)
        if batch is None:
            return None
        if not self._same_options(batch):
            raise UsageError(f"--key {key} names batch {batch.batch_id}, which was asked with other options")
        return self._print_again(connection, batch)

    def _same_options(self, batch: Batch) -> bool:
        """Equal as typed (whatever the configuration says now), or equal in effect."""
        typed, effective = batch.options.split("\n")
        return typed == batches.canonical(self.typed) or effective == batches.canonical(self.effective)

    def _print_again(self, connection: Connection, batch: Batch) -> QueryResult:
        state = "open" if batch.is_open else "closed"
        self.feedback.note(f"batch {batch.batch_id} is {state}: {batch.answered} of {batch.issued} answered")
        model = versions.newest(connection)
        if batch.is_open and model is not None and versions.newer_labels(connection, model):
            self.feedback.note(f"labels are newer than model {model.version}; an open batch is printed as issued")
        return QueryResult(batch.batch_id, batches.csv_bytes(connection, batch))

    # Choosing a new one ----------------------------------------------------------------------------------------

    def choose(self) -> _Choice:
        """Decide on a snapshot; nothing is locked meanwhile."""
        purpose = self.options.purpose
        with self.session.database.read() as connection:
            model = versions.newest(connection)
            if purpose == "training" and model is not None:
                self._check_fresh(connection, model)
        name = self._strategy_name(model)
        strategy = self._create(name)
        if strategy.columns and model is not None:
            self._ensure_scored(model)
        with self.session.database.read() as connection:
            moment = _moment(connection)
            images = catalog.eligible(connection, purpose)
            ordinal = batches.next_id(connection)
            table = self._table(connection, model)
            if not images:
                raise NothingLeftError(self._nothing_left(connection), self._nothing_left_remedy())
        if len(images) < self.budget:
            self.feedback.warn(f"only {len(images)} of the {self.budget} samples asked for are left")
        if purpose == "evaluation":
            chosen = images[: self.budget]
            rows = [BatchRow(r, i.key, None, None, None, name, "evaluation") for r, i in enumerate(chosen, 1)]
            return _Choice(chosen, rows, None, moment)
        eligible = SampleSet(digests([image.sample_id for image in images]))
        selection = strategy.select(
            Request(
                budget=self.budget,
                eligible=eligible,
                seed=derive_seed(self.session.config.seed, "query", ordinal),
                table=table,
            )
        )
        if selection.non_finite:
            self.feedback.warn(f"{selection.non_finite} samples have no finite score; they were asked last")
        by_id = {image.sample_id: image for image in images}
        chosen = [by_id[id_from_digest(bytes(digest))] for digest in selection.digests]
        return _Choice(chosen, _rows(chosen, selection, name, table), model, moment)

    def _strategy_name(self, model: ModelVersion | None) -> str:
        if self.options.purpose == "evaluation":
            return EVALUATION_STRATEGY
        if model is not None:
            return self.strategy
        if not self._create(self.strategy).columns:
            return self.strategy
        self.feedback.note(f"there is no model yet: a cold start by {self.config.cold_start}")
        return self.config.cold_start

    def _check_fresh(self, connection: Connection, model: ModelVersion) -> None:
        newer = versions.newer_labels(connection, model)
        if newer and not self.options.stale_ok:
            raise NotReadyError(
                f"{newer} labels are newer than model {model.version}",
                "run `dalcli train` first, or pass --stale-ok to choose with the old model",
            )

    def _ensure_scored(self, model: ModelVersion) -> None:
        """Score what is missing; the only part of a query that may need torch."""
        from dalcli.commands import score_state

        with self.session.database.read() as connection:
            missing = score_state.missing(connection, self.session.workspace, self.session.config, model)
        if missing:
            from dalcli.commands import score

            score.run(self.session, stale_ok=True, wait=self.options.wait)

    def _table(self, connection: Connection, model: ModelVersion | None) -> ScoreTable | None:
        """The complete score table; None while there is none (a cold start, or a strategy that needs no scores)."""
        from dalcli.commands import score_state

        if model is None or score_state.missing(connection, self.session.workspace, self.session.config, model):
            return None
        folder = self.session.workspace.score_folder(model.version)
        files = [folder / shard.file for shard in scores.shards(connection, model.key)]
        return ScoreTable(files) if files else None

    def _nothing_left(self, connection: Connection) -> str:
        counts = catalog.count_states(connection)[self.options.purpose]
        states = ", ".join(f"{counts[state]} {state}" for state in catalog.STATES if counts[state])
        return f"no {self.options.purpose} sample is left to label: 0 unlabeled" + (f", {states}" if states else "")

    def _nothing_left_remedy(self) -> str:
        if self.options.purpose == "evaluation":
            return "evaluation samples are set aside when images are registered: evaluation.reserve, or a test set"
        return "add images with `dalcli pool add`, or give outstanding ones back with `dalcli batch release`"

    # Issuing ---------------------------------------------------------------------------------------------------

    def issue(self, choice: _Choice) -> QueryResult:
        """Commit the batch, unless the workspace changed while it was being chosen."""
        with self.session.database.write() as connection:
            if _moment(connection) != choice.moment:
                raise _Changed
            batch_id = batches.next_id(connection)
            csv = _csv(choice, batch_id, classes.names(connection))
            batches.issue(
                connection,
                batch_id,
                choice.rows,
                csv,
                options=f"{batches.canonical(self.typed)}\n{batches.canonical(self.effective)}",
                purpose=self.options.purpose,
                requested=self.budget,
                model=None if choice.model is None else choice.model.key,
                key=self.options.key,
            )
        model = f", model {choice.model.version}" if choice.model is not None else ""
        self.feedback.note(f"issued batch {batch_id}: {len(choice.rows)} samples ({choice.rows[0].strategy}{model})")
        return QueryResult(batch_id, csv)


def _moment(connection: Connection) -> tuple[int, int]:
    """Changes whenever a batch is issued or released, or a label is recorded."""
    row = connection.execute(
        "SELECT (SELECT coalesce(max(id), 0) FROM batch) AS batch, (SELECT coalesce(max(id), 0) FROM vote) AS vote"
    ).fetchone()
    return row["batch"], row["vote"]


def _rows(images: Sequence[PoolImage], selection: Selection, strategy: str, table: ScoreTable | None) -> list[BatchRow]:
    values = selection.values
    pseudo_labels = confidences = None
    if table is not None:
        found = table.lookup(selection.digests, ["probabilities"])
        pseudo_labels = found["probabilities"].argmax(axis=1)
        confidences = found["probabilities"].max(axis=1)
    return [
        BatchRow(
            rank=index + 1,
            sample=image.key,
            score=None if values is None else float(values[index]),
            pseudo_label=None if pseudo_labels is None else int(pseudo_labels[index]),
            confidence=None if confidences is None else _shortest(confidences[index]),
            strategy=strategy,
            arm="active",
        )
        for index, image in enumerate(images)
    ]


def _shortest(value: np.float32) -> float:
    """The float that prints as shortly as the float32 does: 0.9, not 0.8999999761581421."""
    return float(str(value))


def _csv(choice: _Choice, batch_id: str, names: Sequence[str]) -> bytes:
    return batch_csv.render_batch(
        batch_csv.BatchRow(
            sample_id=image.sample_id,
            path=image.path,
            rank=row.rank,
            score=row.score,
            pseudo_label=None if row.pseudo_label is None else names[row.pseudo_label],
            confidence=row.confidence,
            strategy=row.strategy,
            arm=row.arm,
            batch_id=batch_id,
        )
        for image, row in zip(choice.images, choice.rows, strict=True)
    )
