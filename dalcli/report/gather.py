"""Every part of a report, from the services that answer the commands themselves. The first file of this room to read.

``gather`` makes one value of it (``contents``); ``page`` makes sections of that, which ``html`` and ``markdown`` write
out; ``mail`` puts both into a message. Nothing here imports torch, but for what ``plan`` trains by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from dalcli.labels import annotators
from dalcli.planning.history import history
from dalcli.planning.money import costs_today, tariff
from dalcli.planning.result import PlanResult
from dalcli.planning.run import PlanRequest, plan
from dalcli.report.contents import LabeledByModel, Loop, Report
from dalcli.report.diagnosing import last
from dalcli.report.evaluated import class_rows, evaluation, newest
from dalcli.report.made import made
from dalcli.report.rounds import rounds
from dalcli.report.saved import saved
from dalcli.report.sheets import choose, sheets
from dalcli.state import auto_checks, auto_labels, changes, classes, evaluations, spending
from dalcli.workspace.session import Session

ATTEMPTS = 3
NOT_DIAGNOSED = "No diagnosis was asked for: dalcli report --diagnose makes one, and later reports keep it."


@dataclass(frozen=True)
class ReportRequest:
    """What is asked: how many pictures a sheet, which target, on which day."""

    thumbnails: int
    target: float | None
    today: date
    diagnosis_missing: str | None = None


def gather(session: Session, request: ReportRequest, loop: Callable[[], Loop]) -> Report:
    """Everything, of one state of the workspace: labels that come in meanwhile make it begin again, twice at most.

    Raises:
        UsageError, BadInputError: the target or the configuration means nothing here; as ``plan`` says it.
    """
    for attempt in range(1, ATTEMPTS + 1):
        before = _others(session)
        report = _gather(session, request, loop())
        if _others(session) == before:
            return report
        if attempt == ATTEMPTS:
            session.feedback.warn("the workspace changed while the report was made: its parts may differ by that")
    return report


def _others(session: Session) -> int:
    with session.database.read() as connection:
        return changes.by_others(connection)


def _gather(session: Session, request: ReportRequest, loop: Loop) -> Report:
    planned = plan(session, PlanRequest(target=request.target, today=request.today, demanding=False))
    foretold = history(session)
    config = session.config
    with session.database.read() as connection:
        measured = newest(connection)
        gain = evaluations.newest_gain(connection)
        chosen = choose(connection, measured, request.thumbnails)
        votes = spending.votes(connection)
        costs = costs_today(config.costs, classes.spellings(connection), session.workspace.config_path)
        price = tariff(costs, votes, planned.standing.usable).per_label
        parts = {
            "as_of": changes.last_change(connection),
            "rounds": rounds(connection, costs, votes),
            "by_model": tuple(
                LabeledByModel(run, *auto_checks.contradictions(connection, run))
                for run in auto_labels.runs(connection)
            ),
            "annotators": annotators.compare(connection),
            "diagnosis": last(connection),
            "made": made(session, connection),
        }
    return Report(
        workspace=session.workspace.root.name,
        today=request.today.isoformat(),
        loop=loop,
        plan=planned,
        history=foretold,
        evaluation=None if measured is None else evaluation(measured),
        classes=class_rows(loop.labels_per_class, measured, planned.classes, config.evaluation.confidence),
        sheets=sheets(session, chosen),
        control_gain=gain,
        saved=saved(gain, planned.curve, price) if _of_accuracy(planned) else None,
        diagnosis_missing=request.diagnosis_missing or NOT_DIAGNOSED,
        **parts,  # type: ignore[arg-type]  # read in one snapshot, each of its type
    )


def _of_accuracy(planned: PlanResult) -> bool:
    """The gain is one of accuracy: it means nothing on the curve of another metric."""
    return planned.metric == "accuracy"
