"""Signatures of ``dalcli train``, ``score``, ``evaluate`` and ``diagnose``: what is done with the model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dalcli.cli.options import Directory, Json, Quiet, StaleOk, Wait, directory_of, session_of
from dalcli.cli.torchrun import alone_of, leading, speaks

model_app = typer.Typer()


@model_app.command(
    epilog="Example: dalcli train && dalcli score && dalcli evaluate. "
    "With `torchrun --nproc-per-node 4 -m dalcli train` every batch is split among four processes."
)
def train(
    everything: Annotated[
        bool,
        typer.Option("--all", help="All of a frozen network, from its head on, whatever model.train says."),
    ] = False,
    wait: Wait = 0.0,
    directory: Directory = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train to convergence on the labels there are.

    Starts from the previous model; a killed run continues.
    """
    from dalcli.cli import render, render_model
    from dalcli.commands import train as command

    with leading("train", directory_of(directory)) as ranks, session_of(directory, quiet) as session:
        render.show(command.run(session, everything, wait, ranks), render_model.train, json)


@model_app.command(
    epilog="Example: dalcli score. With `torchrun --nproc-per-node 4 -m dalcli score` four processes share the work."
)
def score(
    full: Annotated[
        bool, typer.Option("--full", help="All columns, gradients too; default: those that query.strategy reads.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what time, memory and disk it would take; change nothing.")
    ] = False,
    stale_ok: StaleOk = False,
    wait: Wait = 0.0,
    directory: Directory = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score the pool with the newest model.

    What is there is not computed again; a killed run continues.
    """
    from dalcli.cli import render, render_model
    from dalcli.commands import score as command

    request = command.ScoreRequest(full=full, stale_ok=stale_ok, wait=wait)
    if dry_run:
        if speaks():
            with session_of(directory, quiet) as session:
                alone_of(session.feedback)
                render.show(command.dry_run(session, request), render_model.score_estimate, json)
        return
    with leading("score", directory_of(directory)) as ranks, session_of(directory, quiet) as session:
        render.show(command.run(session, request, ranks), render_model.score, json)


@model_app.command(epilog="Example: dalcli evaluate --json")
def evaluate(
    model: Annotated[
        str | None, typer.Option(help="Measure this version; default: the newest.", metavar="VERSION")
    ] = None,
    control: Annotated[
        bool,
        typer.Option(
            "--control", help="Also what choosing has gained over drawing at random, where `query --control` was used."
        ),
    ] = False,
    retrain: Annotated[
        bool, typer.Option("--retrain", help="With --control: also if that means to train all of a model repeatedly.")
    ] = False,
    directory: Directory = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure accuracy and calibration on the evaluation set.

    Also precision, recall and confusion of every class.
    """
    from dalcli.cli import render, render_model
    from dalcli.commands import evaluate as command

    command.check(control, retrain)
    with session_of(directory, quiet) as session:
        render.show(command.run(session, model, control, retrain), render_model.evaluate, json)


@model_app.command(epilog="Example: dalcli diagnose --budget 100")
def diagnose(
    budget: Annotated[
        int | None,
        typer.Option(
            help="Size of the batches; default: the batch issued with the model, query.budget, or the last batch's.",
            metavar="N",
        ),
    ] = None,
    samples: Annotated[int, typer.Option(help="Images of each set in the tangent kernel, at most.", metavar="N")] = 256,
    random_batches: Annotated[
        int, typer.Option(help="Random batches for the approximation ratio and Kendall's tau.", metavar="N")
    ] = 100,
    ridge: Annotated[
        float, typer.Option(help="Added to the kernel's diagonal, in units of its mean.", metavar="λ")
    ] = 1e-3,
    sketch: Annotated[
        int | None,
        typer.Option(
            help="Sketch the kernel in N numbers per class gradient; 0: exact; default: exact while affordable.",
            metavar="N",
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(help="True labels of pool images, for Kendall's tau only; nothing is recorded.", metavar="FILE"),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Diagnose this version; default: the newest.", metavar="VERSION")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of every random draw; default: the configuration's.", metavar="N")
    ] = None,
    directory: Directory = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check the theory behind the scores.

    Is the batch small enough, has training converged, how far has the labeled set drifted? If the pool is scored with
    the newest model, but without gradients, these are added first; nothing else is changed.
    """
    from dalcli.cli import render, render_diagnose
    from dalcli.commands import diagnose as command

    request = command.DiagnoseRequest(
        budget=budget,
        samples=samples,
        random_batches=random_batches,
        ridge=ridge,
        sketch=sketch,
        labels=labels,
        model=model,
        seed=seed,
    )
    command.check(request)
    with session_of(directory, quiet) as session:
        render.show(command.run(session, request), render_diagnose.diagnose, json)
