"""``query``: hand out the samples worth labeling next."""

from __future__ import annotations

from dataclasses import dataclass

from dalcli.config.querying import MAX_BUDGET, QueryConfig
from dalcli.config.words import suggestion
from dalcli.errors import UsageError
from dalcli.formats.registry import BATCH_FORMATS, check_format
from dalcli.querying.printing import written
from dalcli.querying.request import QueryRequest, Relabel
from dalcli.querying.run import query
from dalcli.state.catalog import Purpose
from dalcli.strategies import registry
from dalcli.workspace.session import Session


@dataclass(frozen=True)
class Options:
    """What the command line asked for; None means: as configured."""

    budget: int | None = None
    purpose: Purpose = "training"
    strategy: str | None = None
    gamma: float | None = None
    control: float | None = None
    new: bool = False
    key: str | None = None
    stale_ok: bool = False
    wait: float = 0.0
    relabel: int | None = None
    suspects: bool = False
    format: str = "csv"
    image_url: str | None = None
    auto_labeled: bool = False


@dataclass(frozen=True)
class PrintedBatch:
    """For whoever asked: a batch's bytes, exactly as they are to be printed, in the format that was asked for."""

    batch_id: str
    data: bytes


def check(options: Options) -> None:
    """Refuse what no workspace could make sense of.

    Raises:
        UsageError: an option is out of range, or contradicts another one.
    """
    check_format(options.format, list(BATCH_FORMATS))
    if options.image_url is not None and options.format in {"csv", "jsonl"}:
        raise UsageError(
            f"--image-url has no effect on --format {options.format}", "its paths are what label files name"
        )
    if options.budget is not None and not 1 <= options.budget <= MAX_BUDGET:
        raise UsageError(f"--budget {options.budget} is out of range", f"ask for 1 to {MAX_BUDGET} samples")
    if options.suspects and options.relabel is None:
        raise UsageError("--suspects says which labels to look at again", "pass --relabel N --suspects")
    if options.relabel is not None:
        _check_relabel(options, options.relabel)
    if options.auto_labeled:
        _check_auto_labeled(options)
    if options.gamma is not None and not options.gamma >= 0:
        raise UsageError(f"--gamma {options.gamma:g} is out of range", "a number from 0 to inf")
    if options.control is not None and not 0 <= options.control <= 1:
        raise UsageError(f"--control {options.control:g} is out of range", "a fraction from 0 to 1, 0.1 say")
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
    if options.purpose == "evaluation" and options.control is not None:
        raise UsageError(
            "--control is for training samples", "leave it out: evaluation samples are all drawn at random"
        )


def _check_auto_labeled(options: Options) -> None:
    named = {"--relabel": options.relabel, "--strategy": options.strategy, "--gamma": options.gamma}
    named["--control"] = options.control
    for name, value in named.items():
        if value is not None:
            raise UsageError(f"{name} has no effect on --auto-labeled: all of it is drawn at random", "leave it out")
    if options.purpose == "evaluation":
        raise UsageError("models label training samples only", "leave out --purpose evaluation")


def _check_relabel(options: Options, count: int) -> None:
    if not 1 <= count <= MAX_BUDGET:
        raise UsageError(f"--relabel {count} is out of range", f"ask for 1 to {MAX_BUDGET} samples")
    if options.budget is not None:
        raise UsageError("--relabel and --budget are two kinds of batches", "ask for one after the other")
    if options.strategy is not None or options.gamma is not None:
        raise UsageError("--strategy and --gamma choose samples without a label", "leave them out with --relabel")
    if options.suspects and options.purpose == "evaluation":
        raise UsageError("suspects are labels that models are trained on", "leave out --purpose evaluation")


def run(session: Session, options: Options) -> PrintedBatch:
    """Print an open batch again, or issue a new one. Another format is another print of it, not another batch.

    Raises:
        UsageError: the budget, strategy, gamma or key is wrong.
        NotReadyError: an open batch has other options, or labels are newer than the model.
        NothingLeftError: no sample is eligible.
    """
    check(options)
    result = query(session, _request(session.config.query, options))
    return PrintedBatch(result.batch_id, written(session, result, options.format, options.image_url))


def _request(config: QueryConfig, options: Options) -> QueryRequest:
    """The options, with the configuration where they say nothing."""
    if options.relabel is not None:
        among: Relabel = "suspects" if options.suspects else "disputed"
        return QueryRequest(
            budget=options.relabel,
            purpose=options.purpose,
            query=config,
            new=options.new,
            key=options.key,
            relabel=among,
            typed={"relabel": among, "budget": options.relabel},
        )
    budget = options.budget if options.budget is not None else config.budget
    if budget is None:
        raise UsageError("no budget given", "pass --budget N, or set query.budget in dalcli.yaml")
    chosen = {"strategy": options.strategy, "gamma": options.gamma}
    if options.control is not None:  # younger than the other two: batches issued before know nothing of it
        chosen["control"] = options.control
    if options.auto_labeled:
        return QueryRequest(
            budget=budget,
            purpose=options.purpose,
            query=config.model_copy(update={"control": 0.0}),
            stale_ok=True,  # no model chooses
            new=options.new,
            key=options.key,
            auto_labeled=True,
            wait=options.wait,
            typed={"budget": options.budget, "auto_labeled": True},
        )
    combined = config.model_copy(update={name: value for name, value in chosen.items() if value is not None})
    if options.gamma is not None and not _looks_at_gamma(combined):
        raise UsageError(
            f"--gamma has no effect on {combined.strategy}: it is a weight in the score of `dynamical` and its kin",
            "leave it out, or pass --strategy with one of them (docs/strategies.md)",
        )
    return QueryRequest(
        budget=budget,
        purpose=options.purpose,
        query=combined,
        stale_ok=options.stale_ok,
        new=options.new,
        key=options.key,
        wait=options.wait,
        typed={"budget": options.budget, **chosen},
    )


def _looks_at_gamma(query: QueryConfig) -> bool:
    """Whether another γ would make it another strategy: a cold start's does not count, it is soon over."""
    other = query.model_copy(update={"gamma": 0.0 if query.gamma else 1.0})
    return registry.create(query.strategy, query) != registry.create(query.strategy, other)
