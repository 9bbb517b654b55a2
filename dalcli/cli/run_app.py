"""Signature of ``dalcli run``: a night of the loop."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from dalcli.cli.options import Directory, Json, Quiet, Wait, session_of

run_app = typer.Typer()


@run_app.command(
    epilog="Example: dalcli run --budget 250 --output to_label.csv. With --exit-code: 10 target-reached; "
    "11 infeasible; 12 need-evaluation-labels; 13 insufficient-data, where no step failed. See docs/run.md."
)
def run(
    budget: Annotated[
        int | None, typer.Option(help="How many samples to hand out; default: query.budget.", metavar="N")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Where the batch is written; default: run.output.", metavar="FILE"),
    ] = None,
    inbox: Annotated[
        Path | None, typer.Option(help="Where label files come in; default: run.inbox.", metavar="DIR")
    ] = None,
    evaluation_budget: Annotated[
        int | None,
        typer.Option(help="How many evaluation samples to hand out where the plan needs them.", metavar="N"),
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="Stop at this time of day; the next run goes on there.", metavar="HH:MM")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what each step would do; do nothing.")] = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="End with a status of its own for every verdict of the plan.")
    ] = False,
    wait: Wait = 0.0,
    directory: Directory = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run a night of the loop: every step that is needed.

    Takes in labels, trains, scores, evaluates, plans, hands out the next batch and backs up. A second run does nothing,
    a killed one goes on. No batch goes out when the plan says stop, or while one is out.
    """
    from dalcli.cli import render, render_run
    from dalcli.cli.streams import say
    from dalcli.nightly import request
    from dalcli.nightly import run as nightly

    asked = request.Asked(
        budget=budget,
        output=output,
        inbox=inbox,
        evaluation_budget=evaluation_budget,
        until=until,
        wait=wait,
        dry_run=dry_run,
    )
    deadline = request.check(asked)
    with session_of(directory, quiet) as session:
        if deadline.at is not None:
            session.feedback.note(f"until {datetime.fromtimestamp(deadline.at):%Y-%m-%d %H:%M}")
        result = nightly.run(session, request.options(session, asked), deadline)
    if json:
        render.show(nightly.document(result), lambda _: "", as_json=True)
    else:
        render.show(result, render_run.night, as_json=False)
    for line in render_run.errors(result):
        say(line)
    status = result.exit_code or (_of_verdict(result) if exit_code else 0)
    if status:
        raise typer.Exit(status)


def _of_verdict(result: object) -> int:
    from dalcli.commands.plan import EXIT_CODES
    from dalcli.nightly.run import NightResult

    assert isinstance(result, NightResult)
    return 0 if result.verdict is None else EXIT_CODES[result.verdict]
