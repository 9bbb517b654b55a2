"""Signature of ``dalcli report``: the page for the person who pays."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dalcli.cli.options import Directory, Json, Quiet, session_of

if TYPE_CHECKING:
    from dalcli.commands.report import Options
    from dalcli.report.contents import Report
    from dalcli.workspace.session import Session

report_app = typer.Typer()


class ReportFormat(StrEnum):
    """What a report is written as."""

    HTML = "html"
    MD = "md"
    JSON = "json"


_SUFFIXES = {
    ".html": ReportFormat.HTML,
    ".htm": ReportFormat.HTML,
    ".md": ReportFormat.MD,
    ".markdown": ReportFormat.MD,
    ".json": ReportFormat.JSON,
}
_NAMES = {ReportFormat.HTML: "HTML", ReportFormat.MD: "Markdown", ReportFormat.JSON: "JSON"}
_MESSAGE = "a message"


@report_app.command(
    epilog="Example: dalcli report --output report.html. By mail: dalcli report --mail --to name@example.com | "
    "sendmail -t. See docs/report.md."
)
def report(
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write here (atomically) instead of stdout.", metavar="FILE"),
    ] = None,
    form: Annotated[
        ReportFormat | None,
        typer.Option("--format", help="Default: what FILE's name ends in, else html."),
    ] = None,
    target: Annotated[
        float | None, typer.Option(help="What to plan for; default: plan.target.", metavar="VALUE")
    ] = None,
    thumbnails: Annotated[
        int, typer.Option(help="Pictures on each contact sheet, at most: 0 to 60.", metavar="N")
    ] = 24,
    diagnose: Annotated[
        bool, typer.Option("--diagnose", help="Diagnose the newest model first; later reports keep the findings.")
    ] = False,
    mail: Annotated[bool, typer.Option("--mail", help="A message for `sendmail -t`: text, the page attached.")] = False,
    to: Annotated[
        list[str] | None, typer.Option("--to", help="Who gets it; may be repeated.", metavar="ADDRESS")
    ] = None,
    sender: Annotated[str | None, typer.Option("--from", help="Who sends it.", metavar="ADDRESS")] = None,
    directory: Directory = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a page for the person who pays.

    Where we are, what it cost, what comes next. One file that needs no network and runs no scripts; what is not known
    is said on it.
    """
    from dalcli.cli import render
    from dalcli.commands import report as command
    from dalcli.errors import UsageError

    if (json and form not in {None, ReportFormat.JSON}) or (mail and (json or form is not None)):
        raise UsageError("a report has one format", "leave out --format, --json or --mail")
    options = command.Options(target, thumbnails, diagnose, mail, tuple(to or ()), sender)
    command.check(options)
    render.check_output(output)
    chosen = ReportFormat.JSON if json else form or _by_name(output)
    with session_of(directory, quiet) as session:
        data = _data(command.run(session, options), options, chosen)
        render.deliver(data, output, "nothing is lost: run the same command again")
        if output is not None and str(output) != "-":
            _tell(session, output, _MESSAGE if mail else _NAMES[chosen], len(data))


def _tell(session: Session, output: Path, form: str, size: int) -> None:
    """What was written; aloud where the file's name promises something else."""
    named = _SUFFIXES.get(output.suffix.lower())
    fits = not output.suffix or form == _MESSAGE or (named is not None and _NAMES[named] == form)
    tell = session.feedback.note if fits else session.feedback.warn
    tell(f"{output}: {form}, {size / 1000:,.0f} kB")


def _data(found: Report, options: Options, form: ReportFormat) -> bytes:
    from dalcli.cli import render
    from dalcli.commands import report as command

    if options.mail:
        return command.mailed(found, options)
    if form == ReportFormat.JSON:
        return render.document(found)
    return command.written(found, "md" if form == ReportFormat.MD else "html")


def _by_name(output: Path | None) -> ReportFormat:
    return ReportFormat.HTML if output is None else _SUFFIXES.get(output.suffix.lower(), ReportFormat.HTML)
