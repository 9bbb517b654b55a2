"""What ``run`` prints: a line a step, and what went wrong."""

from __future__ import annotations

from collections.abc import Iterator

from dalcli.cli.tables import listing, text
from dalcli.nightly.run import NightResult
from dalcli.nightly.step import StepReport

_SHOWN = 20


def night(result: NightResult) -> str:
    """A table of the steps."""
    rows = [(report.step, report.outcome, report.why, _seconds(report)) for report in result.steps]
    return text(listing(("step", "", "", "seconds"), rows))


def _seconds(report: StepReport) -> str | None:
    return f"{report.seconds:.1f}" if report.outcome in {"done", "failed", "deadline"} else None


def errors(result: NightResult) -> Iterator[str]:
    """For stderr: every step that failed, with its remedy; every file that was refused."""
    for report in result.steps:
        if report.outcome == "failed":
            yield f"error: {report.step}: {report.why}"
            yield from (f"  {problem}" for problem in report.problems[:_SHOWN])
            if report.remedy:
                yield report.remedy
        if report.refused:
            yield f"error: {report.step}: {len(report.refused)} refused: {', '.join(report.refused[:_SHOWN])}"
            yield "what is wrong with each stands beside it, in .why.txt; the rest was done"
