"""``predict``: the model on the rest of the pool or on new images; labels without a labeler, and their withdrawal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dalcli.errors import UsageError
from dalcli.formats.registry import check_format
from dalcli.prediction import checking
from dalcli.prediction.accepting import accept
from dalcli.prediction.checking import CheckResult
from dalcli.prediction.promise import AutoRequest, AutoResult
from dalcli.prediction.rows import FORMATS
from dalcli.prediction.run import PredictRequest, Summary, predict
from dalcli.workspace.session import Session

MOST_TRIES = 1000


@dataclass(frozen=True)
class Options:
    """What the command line asked for; None: not named."""

    sources: tuple[Path, ...] = ()
    model: str | None = None
    top: int | None = None
    format: str | None = None
    output: Path | None = None
    json: bool = False
    auto: bool = False
    max_error: float | None = None
    confidence: float | None = None
    per_class: bool = False
    tries: int | None = None
    trust_test_set: bool = False
    dry_run: bool = False
    check: bool = False
    withdraw: bool = False
    wait: float = 0.0


def check(options: Options) -> None:
    """Refuse what no workspace could make sense of.

    Raises:
        UsageError: an option is out of range, or has no effect beside another one.
    """
    modes = [f"--{name}" for name in ("auto", "check", "withdraw") if getattr(options, name)]
    if len(modes) > 1:
        raise UsageError(f"{' and '.join(modes)} are two things to do", "do one after the other")
    lines = {
        "SOURCES": options.sources,
        "--top": options.top,
        "--format": options.format,
        "--output": options.output,
    }
    if modes:
        _refuse(lines, f"{modes[0]} prints no predictions", "leave it out")
    if not options.auto:
        only = {
            "--max-error": options.max_error,
            "--confidence": options.confidence,
            "--per-class": options.per_class,
            "--tries": options.tries,
            "--trust-test-set": options.trust_test_set,
            "--dry-run": options.dry_run,
        }
        _refuse(only, "it says which predictions may count as labels", "pass --auto --max-error 0.01")
    if modes in (["--check"], ["--withdraw"]):
        _refuse({"--model": options.model}, f"{modes[0]} is about the labels that stand", "leave it out")
    if options.auto:
        _check_auto(options)
    if options.format is not None:
        check_format(options.format, list(FORMATS))
    if options.top is not None and options.top < 1:
        raise UsageError(f"--top {options.top} is out of range", "ask for 1 class or more")


def _check_auto(options: Options) -> None:
    if options.max_error is None:
        raise UsageError("--auto needs to know how many of the labels may be wrong", "pass --max-error 0.01, say")
    if not 0 < options.max_error < 1:
        raise UsageError(f"--max-error {options.max_error:g} is out of range", "a fraction between 0 and 1: 0.01 is 1%")
    if options.confidence is not None and not 0.5 <= options.confidence < 1:
        raise UsageError(f"--confidence {options.confidence:g} is out of range", "a probability from 0.5 to below 1")
    if options.tries is not None and not 1 <= options.tries <= MOST_TRIES:
        raise UsageError(f"--tries {options.tries} is out of range", f"plan for 1 to {MOST_TRIES} tries")


def _refuse(given: Mapping[str, object], why: str, remedy: str) -> None:
    for name, value in given.items():
        if value:
            raise UsageError(f"{name} has no effect here: {why}", remedy)


def run(session: Session, options: Options, sink: Callable[[bytes], None]) -> Summary:
    """Predict; lines go to the output, or to ``sink`` unless a summary is wanted."""
    check(options)
    to_stdout = options.output is None or str(options.output) == "-"
    return predict(
        session,
        PredictRequest(
            sources=options.sources,
            version=options.model,
            top=options.top or 1,
            form=options.format or "csv",
            output=None if to_stdout else options.output,
            wait=options.wait,
            quiet_lines=options.json,
        ),
        sink,
    )


def label(session: Session, options: Options) -> AutoResult:
    """Label what may be labeled."""
    check(options)
    assert options.max_error is not None
    return accept(
        session,
        AutoRequest(
            max_error=options.max_error,
            confidence=options.confidence or session.config.evaluation.confidence,
            per_class=options.per_class,
            tries=options.tries or 1,
            version=options.model,
            trust_test_set=options.trust_test_set,
            dry_run=options.dry_run,
            wait=options.wait,
        ),
    )


def check_promises(session: Session) -> CheckResult:
    """Whether the labels by models still stand; those that do not are withdrawn."""
    return checking.check(session)


def withdraw(session: Session) -> CheckResult:
    """Take back all labels by models."""
    return checking.withdraw(session)
