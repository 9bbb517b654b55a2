"""``plan``: what the next labels buy, and when to stop; ``plan history``: what was foretold, and what came."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from dalcli.config.querying import MAX_BUDGET
from dalcli.errors import ExitCode, UsageError
from dalcli.planning import finish as finishing
from dalcli.planning.finish import FinishRequest, FinishResult
from dalcli.planning.history import HistoryResult, history
from dalcli.planning.result import PlanResult, Verdict
from dalcli.planning.run import PlanRequest, plan
from dalcli.workspace.session import Session

EXIT_CODES: dict[Verdict, ExitCode] = {
    "continue": ExitCode.DONE,
    "target-reached": ExitCode.TARGET_REACHED,
    "infeasible": ExitCode.INFEASIBLE,
    "need-evaluation-labels": ExitCode.NEED_EVALUATION_LABELS,
    "insufficient-data": ExitCode.INSUFFICIENT_DATA,
}
"""What ``--exit-code`` makes of a verdict."""


@dataclass(frozen=True)
class Options:
    """What the command line asked for; None: not named."""

    target: float | None = None
    budget: int | None = None
    money: float | None = None
    deadline: str | None = None
    metric: str | None = None
    subsets: bool = False
    exit_code: bool = False
    finish: bool = False
    max_error: float | None = None
    trust_test_set: bool = False


def check_finish(options: Options) -> FinishRequest:
    """The same for ``--finish``.

    Raises:
        UsageError: an option is out of range, or asks something else.
    """
    others = {
        "--target": options.target,
        "--budget": options.budget,
        "--deadline": options.deadline,
        "--metric": options.metric,
        "--subsets": options.subsets or None,
        "--exit-code": options.exit_code or None,
    }
    for name, value in others.items():
        if value is not None:
            raise UsageError(f"{name} and --finish are two questions", "ask one of them")
    if options.max_error is None:
        raise UsageError("--finish needs to know how many labels by the model may be wrong", "pass --max-error 0.01")
    if not 0 < options.max_error < 1:
        raise UsageError(f"--max-error {options.max_error:g} is out of range", "a fraction between 0 and 1: 0.01 is 1%")
    _check_money(options.money)
    return FinishRequest(options.max_error, options.money, options.trust_test_set)


def check(options: Options) -> PlanRequest:
    """Refuse what no workspace could make sense of; the rest as a request.

    Raises:
        UsageError: an option is out of range, or two ask different questions.
    """
    if options.max_error is not None or options.trust_test_set:
        raise UsageError("--max-error and --trust-test-set belong to --finish", "pass --finish --max-error 0.01")
    limits = {"--budget": options.budget, "--money": options.money, "--deadline": options.deadline}
    named = [name for name, value in limits.items() if value is not None]
    if len(named) > 1:
        raise UsageError(
            f"{' and '.join(named)} are {'two' if len(named) == 2 else 'three'} questions", "ask one of them"
        )
    if options.budget is not None and not 1 <= options.budget <= MAX_BUDGET:
        raise UsageError(f"--budget {options.budget} is out of range", f"name 1 to {MAX_BUDGET} labels")
    _check_money(options.money)
    today = date.today()
    return PlanRequest(
        target=options.target,
        budget=options.budget,
        money=options.money,
        deadline=None if options.deadline is None else _deadline(options.deadline, today),
        metric=options.metric,
        subsets=options.subsets,
        today=today,
        demanding=not options.exit_code,
    )


def finish(session: Session, request: FinishRequest) -> FinishResult:
    """What it takes until every image has a label; nothing is computed or kept."""
    return finishing.finish(session, request)


def run(session: Session, request: PlanRequest) -> PlanResult:
    """Answer, and keep the forecast behind the answer."""
    return plan(session, request)


def past(session: Session) -> HistoryResult:
    """Every forecast that was made, with what came of it."""
    return history(session)


def _check_money(money: float | None) -> None:
    if money is not None and not 0 < money <= 1e15:
        raise UsageError(f"--money {money:g} is out of range", "name an amount larger than 0, and no more than 1e15")


def _deadline(text: str, today: date) -> date:
    try:
        found = datetime.strptime(text.strip(), "%Y-%m-%d").date()
    except ValueError:
        raise UsageError(f"--deadline {text}: not a date", "write it as 2030-01-31 (year, month, day)") from None
    if found <= today:
        has = "has passed: today is" if found < today else "is today,"
        raise UsageError(f"--deadline {text} {has} {today.isoformat()}", "name a later day")
    return found
