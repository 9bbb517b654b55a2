"""Signatures of ``dalcli plan`` and ``plan history``: what the next labels buy, and when to stop."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dalcli.cli.options import Directory, Json, Quiet, directory_of, session_of

plan_app = typer.Typer(invoke_without_command=True)


@plan_app.callback(
    epilog="Example: dalcli plan --target 0.95. With --exit-code: 0 continue; 10 target-reached; 11 infeasible; "
    "12 need-evaluation-labels; 13 insufficient-data; errors as always. See docs/planning.md."
)
def plan(
    context: typer.Context,
    target: Annotated[
        float | None, typer.Option(help="What it takes to get there; default: plan.target.", metavar="VALUE")
    ] = None,
    budget: Annotated[int | None, typer.Option(help="What so many more labels buy.", metavar="N")] = None,
    money: Annotated[
        float | None, typer.Option(help="What so much money buys, at the prices under costs.", metavar="AMOUNT")
    ] = None,
    deadline: Annotated[
        str | None, typer.Option(help="What the labels buy that come in by this day.", metavar="DATE")
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(help="accuracy, macro, recall:CLASS or error; default: plan.metric.", metavar="METRIC"),
    ] = None,
    subsets: Annotated[
        bool,
        typer.Option(
            "--subsets",
            help="Forecast from models trained on random parts of the labels; by itself where the network is frozen "
            "and fewer than five versions were measured.",
        ),
    ] = False,
    finish: Annotated[
        bool, typer.Option("--finish", help="What it takes until every image has a label, by hand and by the model.")
    ] = False,
    max_error: Annotated[
        float | None,
        typer.Option(help="With --finish: the fraction of the model's labels that may be wrong.", metavar="FRACTION"),
    ] = None,
    trust_test_set: Annotated[
        bool, typer.Option("--trust-test-set", help="With --finish: the test set was drawn at random from the pool.")
    ] = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="End with a status of its own for every verdict.")
    ] = False,
    directory: Directory = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say what the next labels buy, and when to stop.

    Where we stand, what a target takes in labels, money and days, what a budget buys, and the verdict. Every
    forecast is kept and held against what comes: plan history.
    """
    if context.invoked_subcommand is not None:
        _before_history(
            context,
            (target, budget, money, deadline, metric, subsets or None, exit_code or None, finish or None, max_error),
            directory,
            json,
            quiet,
        )
        return
    from dalcli.cli import render, render_plan, render_plan_finish
    from dalcli.commands import plan as command

    options = command.Options(
        target=target,
        budget=budget,
        money=money,
        deadline=deadline,
        metric=metric,
        subsets=subsets,
        exit_code=exit_code,
        finish=finish,
        max_error=max_error,
        trust_test_set=trust_test_set,
    )
    if finish:
        question = command.check_finish(options)
        with session_of(directory, quiet) as session:
            render.show(command.finish(session, question), render_plan_finish.finish, json)
        return
    request = command.check(options)
    with session_of(directory, quiet) as session:
        result = command.run(session, request)
        render.show(result, render_plan.plan, json)
    if exit_code and command.EXIT_CODES[result.verdict]:
        raise typer.Exit(command.EXIT_CODES[result.verdict])


def _before_history(
    context: typer.Context, questions: tuple[object, ...], directory: Path | None, json: bool, quiet: bool
) -> None:
    """``plan -C DIR history`` means what ``plan history -C DIR`` does; a question to history means nothing."""
    from dalcli.errors import UsageError

    if any(question is not None for question in questions):
        raise UsageError("plan history answers no question", "leave the options out, or leave out history")
    directory_of(directory)
    context.obj = (json, quiet)


@plan_app.command("history", epilog="Example: dalcli plan history")
def plan_history(context: typer.Context, directory: Directory = None, json: Json = False, quiet: Quiet = False) -> None:
    """List every forecast that was made, and what came of it."""
    from dalcli.cli import render, render_plan
    from dalcli.commands import plan as command

    json_before, quiet_before = context.obj
    with session_of(directory, quiet or quiet_before) as session:
        render.show(command.past(session), render_plan.history, json or json_before)
