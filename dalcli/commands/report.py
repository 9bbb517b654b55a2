"""``report``: where we are, what it cost and what comes next, on one page for the person who pays."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

from dalcli.commands import status
from dalcli.diagnosis.request import DiagnoseRequest
from dalcli.errors import NotReadyError, UsageError
from dalcli.report import diagnosing
from dalcli.report.contents import Loop, Report
from dalcli.report.gather import ReportRequest, gather
from dalcli.report.html import html
from dalcli.report.mail import check_address, message
from dalcli.report.markdown import markdown
from dalcli.report.page import page
from dalcli.report.sheets import MOST
from dalcli.workspace.session import Session

Format = Literal["html", "md", "json"]
THUMBNAILS = 24


@dataclass(frozen=True)
class Options:
    """What the command line asked for."""

    target: float | None = None
    thumbnails: int = THUMBNAILS
    diagnose: bool = False
    mail: bool = False
    to: tuple[str, ...] = ()
    sender: str | None = None


def check(options: Options) -> None:
    """Refuse what no workspace could make sense of.

    Raises:
        UsageError: an option is out of range, or means nothing without another one.
    """
    if not 0 <= options.thumbnails <= MOST:
        raise UsageError(f"--thumbnails {options.thumbnails} is out of range", f"0 to {MOST} on each contact sheet")
    if options.mail and not options.to:
        raise UsageError("--mail: to whom is not said", "name who gets it: --to name@example.com")
    if not options.mail and (options.to or options.sender is not None):
        raise UsageError("--to and --from are for --mail", "pass --mail, or leave them out")
    for address in options.to:
        check_address(address, "--to")
    if options.sender is not None:
        check_address(options.sender, "--from")


def run(session: Session, options: Options) -> Report:
    """Everything that the report tells.

    Raises:
        UsageError, BadInputError: the target or the configuration means nothing here.
    """
    check(options)
    missing = _diagnose(session) if options.diagnose else None
    request = ReportRequest(options.thumbnails, options.target, date.today(), missing)
    return gather(session, request, lambda: _loop(session))


def written(report: Report, form: Literal["html", "md"]) -> bytes:
    """The page, as a file's content."""
    made = page(report)
    return html(made) if form == "html" else markdown(made).encode(errors="backslashreplace")


def mailed(report: Report, options: Options) -> bytes:
    """The message for ``sendmail -t``."""
    made = page(report)
    return message(made, markdown(made), html(made), options.to, options.sender)


def _loop(session: Session) -> Loop:
    found = status.run(session)
    return Loop(
        states=found.states,
        labels_per_class=found.labels_per_class,
        model_name=found.model_name,
        train=found.train,
        image_size=found.image_size,
        newer_labels=found.newer_labels,
        open_batches=found.open_batches,
        next_step=found.next_step,
    )


def _diagnose(session: Session) -> str | None:
    """Diagnose anew and keep the findings; or why that cannot be done yet."""
    from dalcli.commands import diagnose

    try:
        result = diagnose.run(session, DiagnoseRequest())
    except (NotReadyError, UsageError) as error:  # a report without it is still one
        session.feedback.warn(f"no diagnosis: {error.message}")
        return f"No diagnosis could be made: {error.message}."
    with session.database.write() as connection:
        diagnosing.keep(connection, result)
    return None
