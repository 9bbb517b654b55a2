"""``query``: hand out the samples worth labeling next.

A batch is committed first and printed after. Until it is answered or released, the same query prints the same
bytes again, so a cron job that runs twice, or a lost terminal, costs nothing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from dalcli.config.schema import MAX_BUDGET, QueryConfig
from dalcli.config.words import suggestion
from dalcli.errors import DalcliError, NotReadyError, UsageError
from dalcli.querying import cold_start
from dalcli.querying.snapshot import Choice, Situation, Wish, choose, look
from dalcli.state import batches, catalog, memories, versions
from dalcli.state.batches import Batch
from dalcli.state.catalog import Purpose
from dalcli.state.database import Connection
from dalcli.strategies import registry
from dalcli.workspace.session import Session

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


def check(options: Options) -> None:
    """Refuse what no workspace could make sense of.

    Raises:
        UsageError: an option is out of range, or contradicts another one.
    """
    if options.budget is not None and not 1 <= options.budget <= MAX_BUDGET:
        raise UsageError(f"--budget {options.budget} is out of range", f"ask for 1 to {MAX_BUDGET} samples")
    if options.gamma is not None and not options.gamma >= 0:
        raise UsageError(f"--gamma {options.gamma:g} is out of range", "a number from 0 to inf")
    if options.key is not None and not options.new:
        raise UsageError("--key names a new batch", "pass --new --key TEXT")
    if options.key is not None and not options.key.strip():
        raise UsageError("--key is empty", "name the batch, e.g. --new --key 2030-01-31")
    if options.strategy is not None and options.strategy not in registry.STRATEGIES:
        raise UsageError(
            f"--strategy: unknown strategy '{options.strategy}'{suggestion(options.strategy, registry.STRATEGIES)}",
            f"choose one of: {', '.join(registry.STRATEGIES)}",
        )
    if options.purpose == "evaluation" and (options.strategy is not None or options.gamma is not None):
        raise UsageError(
            "--strategy and --gamma choose training samples",
            "leave them out: evaluation samples come in the order of their reserve",
        )


def run(session: Session, options: Options) -> QueryResult:
    """Print an open batch again, or issue a new one.

    Raises:
        UsageError: the budget, strategy or key is wrong.
        NotReadyError: an open batch has other options, or labels are newer than the model.
        NothingLeftError: no sample is eligible.
    """
    check(options)
    wish = _wish(session.config.query, options)
    features = None
    # What is chosen on a snapshot may be taken by another process before it is issued: then look again.
    for _ in range(ATTEMPTS):
        with session.database.read() as connection:
            batch = _stored(connection, options, wish)
            if batch is not None:
                return _print_again(connection, session, batch)
            situation = look(connection, session, wish, features)
        if situation.needs_scores:
            _score(session, options, situation.strategy.columns)
            continue
        if situation.needs_features:
            features = cold_start.features(session)
            continue
        choice = choose(session, wish, situation)
        if _issue(session, options, wish, choice):
            _tell(session, wish, situation, choice)
            if (word := _without_effect(options, wish)) is not None:
                session.feedback.warn(word)
            return QueryResult(choice.batch_id, choice.csv)
    raise DalcliError("other processes keep changing the workspace while this query is choosing", "try again")


def _wish(config: QueryConfig, options: Options) -> Wish:
    budget = options.budget if options.budget is not None else config.budget
    if budget is None:
        raise UsageError("no budget given", "pass --budget N, or set query.budget in dalcli.yaml")
    given = {"strategy": options.strategy, "gamma": options.gamma}
    query = config.model_copy(update={name: value for name, value in given.items() if value is not None})
    return Wish(budget, options.purpose, query, options.stale_ok)


# What is stored already -----------------------------------------------------------------------------------------------


def _without_effect(options: Options, wish: Wish) -> str | None:
    """A word to whoever typed a ``--gamma`` that the strategy does not look at."""
    if options.gamma is None or wish.purpose == "evaluation":
        return None
    name, other = wish.query.strategy, wish.query.model_copy(update={"gamma": 0.0 if wish.query.gamma else 1.0})
    if registry.create(name, wish.query) != registry.create(name, other):
        return None
    return f"--gamma has no effect on {name}: it is a weight in the score of `dynamical` and its kin"


def _stored(connection: Connection, options: Options, wish: Wish) -> Batch | None:
    """The batch to print again, if there is one."""
    if options.key is not None:
        named = batches.with_key(connection, options.key)
        if named is not None and not _same_options(named, options, wish):
            raise UsageError(
                f"--key {options.key} names batch {named.batch_id}, which was asked with other options",
                "repeat them, or choose another key",
            )
        return named
    if options.new:
        return None
    open_ones = batches.open_batches(connection)
    matching = [batch for batch in open_ones if _same_options(batch, options, wish)]
    if open_ones and not matching:
        batch = open_ones[-1]
        raise NotReadyError(
            f"batch {batch.batch_id} ({batch.purpose}, {batch.requested} asked) is open with other options: "
            f"{batch.answered} of {batch.issued} answered",
            f"label it, run `dalcli batch release {batch.batch_id}`, or pass --new for another batch beside it",
        )
    return matching[-1] if matching else None


def _same_options(batch: Batch, options: Options, wish: Wish) -> bool:
    """Equal as typed (whatever the configuration says now), or equal in effect."""
    before, now = batch.options.split("\n"), _options_text(options, wish).split("\n")
    return any(old == new for old, new in zip(before, now, strict=True))


def _options_text(options: Options, wish: Wish) -> str:
    """Two lines: the options as typed, and what they amount to."""
    typed = {name: value for name, value in asdict(options).items() if name in {"budget", "strategy", "gamma"}}
    effective: dict[str, object] = {"budget": wish.budget}
    if wish.purpose == "training":
        effective |= {"strategy": wish.query.strategy, "gamma": wish.query.gamma}
        if wish.query.strategy == "composed":
            effective["compose"] = wish.query.compose.model_dump()
        if wish.query.strategy == "albl":
            effective["experts"] = wish.query.experts
    return "\n".join(batches.canonical({"purpose": wish.purpose, **part}) for part in (typed, effective))


def _print_again(connection: Connection, session: Session, batch: Batch) -> QueryResult:
    state = "open" if batch.open else "closed"
    session.feedback.note(f"batch {batch.batch_id} is {state}: {batch.answered} of {batch.issued} answered")
    model = versions.newest(connection)
    if batch.open and model is not None and versions.newer_labels(connection, model):
        session.feedback.warn(f"labels are newer than model {model.version}; an open batch is printed as issued")
    return QueryResult(batch.batch_id, batches.csv_bytes(connection, batch))


# Issuing a new one ----------------------------------------------------------------------------------------------------


def _score(session: Session, options: Options, columns: tuple[str, ...]) -> None:
    """Score what is missing: the only part of a query that needs torch."""
    from dalcli.scoring.run import ScoreRequest, score

    score(session, ScoreRequest(columns=columns, stale_ok=options.stale_ok, wait=options.wait))


def _issue(session: Session, options: Options, wish: Wish, choice: Choice) -> bool:
    """Commit the batch; False if another process took its id or one of its samples since it was chosen."""
    with session.database.write() as connection:
        if batches.next_id(connection) != choice.batch_id:
            return False
        if not catalog.still_eligible(connection, wish.purpose, choice.images):
            return False
        batches.issue(
            connection,
            choice.batch_id,
            choice.rows,
            choice.csv,
            options=_options_text(options, wish),
            purpose=wish.purpose,
            requested=wish.budget,
            model=None if choice.model is None else choice.model.key,
            key=options.key,
        )
        if choice.memory is not None:
            memories.remember(connection, choice.strategy, choice.batch_id, choice.memory)
    return True


def _tell(session: Session, wish: Wish, situation: Situation, choice: Choice) -> None:
    cold = wish.purpose == "training" and situation.model is None and choice.strategy != wish.query.strategy
    if cold:
        session.feedback.note(f"there is no model yet: a cold start by {choice.strategy}")
    if len(choice.rows) < wish.budget:
        session.feedback.warn(f"only {len(choice.rows)} of the {wish.budget} samples asked for are left")
    if choice.non_finite:
        session.feedback.warn(f"{choice.non_finite} samples have no finite score; they were asked last")
    for warning in choice.warnings:
        session.feedback.warn(warning)
    for note in choice.notes:
        session.feedback.note(note)
    model = f", model {choice.model.version}" if choice.model is not None else ""
    session.feedback.note(f"issued batch {choice.batch_id}: {len(choice.rows)} samples ({choice.strategy}{model})")
