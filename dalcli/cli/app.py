"""Signatures of all commands: what can be typed, and its help. The work is in ``dalcli.commands``.

Imports of commands happen inside the functions, so that ``dalcli --help`` costs little more than Typer.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from dalcli import __version__
from dalcli.cli.batch_app import batch_app
from dalcli.cli.options import (
    Directory,
    Json,
    Quiet,
    RootDirectory,
    StaleOk,
    Wait,
    class_list,
    directory_of,
    feedback_of,
    remember,
    session_of,
)
from dalcli.cli.pool_app import pool_app
from dalcli.cli.simulate_app import EXAMPLE as SIMULATE_EXAMPLE
from dalcli.cli.simulate_app import simulate
from dalcli.cli.torchrun import alone_of, refuse_others, speaks

app = typer.Typer(
    name="dalcli",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(pool_app, name="pool")
app.add_typer(batch_app, name="batch")

EXIT_CODES = (
    "Exit codes: 0 done; 1 failed, state intact; 2 usage; 3 bad input, nothing changed; 4 locked; "
    "5 not ready (the message names the command to run); 6 nothing left to query; 70 a bug; 130/143 interrupted."
)


class Purpose(StrEnum):
    """What the labels will be used for."""

    TRAINING = "training"
    EVALUATION = "evaluation"


class OnConflict(StrEnum):
    """What happens to a label that differs from the same annotator's earlier one."""

    REFUSE = "refuse"
    REPLACE = "replace"
    KEEP = "keep"


def _version(value: bool) -> None:
    if value:
        typer.echo(f"dalcli {__version__}")
        raise typer.Exit


@app.callback(epilog=EXIT_CODES)
def root(
    context: typer.Context,
    directory: RootDirectory = None,
    quiet: Quiet = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Spend a labeling budget well: hand out the images worth labeling next, round after round."""
    refuse_others(context.invoked_subcommand)
    remember(directory, quiet)


@app.command(epilog="Example: dalcli init photos/ --classes cat,dog,other")
def init(
    sources: Annotated[
        list[Path] | None, typer.Argument(help="Folders of images, or CSV manifests with a path column.")
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="Class names: a,b,c or a file with one per line.", metavar="A,B|FILE")
    ] = None,
    test: Annotated[
        Path | None, typer.Option(help="A labeled test set: a manifest, or a folder per class.", metavar="PATH")
    ] = None,
    labels_from_folders: Annotated[
        bool, typer.Option("--labels-from-folders", help="The folder of an image is its label.")
    ] = False,
    config: Annotated[Path | None, typer.Option(help="Start with this configuration.", metavar="FILE")] = None,
    directory: Directory = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make the current directory (or -C DIR) a workspace and register its images."""
    from dalcli.cli import render
    from dalcli.commands import init as command

    request = command.InitRequest(sources or [], class_list(classes), test, labels_from_folders, config)
    result = command.run(directory_of(directory) or Path.cwd(), request, feedback_of(quiet))
    render.show(result, json)


@app.command(
    epilog="Example: dalcli train && dalcli score && dalcli evaluate. "
    "With `torchrun --nproc-per-node 4 -m dalcli train` every batch is split among four processes."
)
def train(wait: Wait = 0.0, directory: Directory = None, json: Json = False, quiet: Quiet = False) -> None:
    """Train on the labels there are, to convergence, starting from the previous model."""
    from dalcli.cli import render
    from dalcli.commands import train as command
    from dalcli.runtime.ranks import joined

    with joined() as ranks:
        if not ranks.main:
            from dalcli.training.job import serve

            serve(directory_of(directory), ranks)
            return
        with session_of(directory, quiet) as session:
            render.show(command.run(session, wait=wait, ranks=ranks), json)


@app.command(
    epilog="Example: dalcli score. With `torchrun --nproc-per-node 4 -m dalcli score` four processes share the work."
)
def score(
    full: Annotated[
        bool, typer.Option("--full", help="All columns, gradients too; default: what query.strategy reads.")
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
    """Score the pool with the newest model; a killed run continues."""
    from dalcli.cli import render
    from dalcli.commands import score as command

    request = command.ScoreRequest(full=full, stale_ok=stale_ok, wait=wait)
    if dry_run:
        if speaks():
            with session_of(directory, quiet) as session:
                alone_of(session.feedback)
                render.show(command.dry_run(session, request), json)
        return
    from dalcli.runtime.ranks import joined
    from dalcli.scoring.run import serve

    with joined() as ranks:
        if not ranks.main:
            serve(directory_of(directory), ranks)
            return
        with session_of(directory, quiet) as session:
            render.show(command.run(session, request, ranks), json)


@app.command(epilog="Example: dalcli query --budget 250 > to_label.csv")
def query(
    budget: Annotated[
        int | None, typer.Option(help="How many samples to hand out; default: query.budget.", metavar="N")
    ] = None,
    purpose: Annotated[Purpose, typer.Option(help="What the labels are for.")] = Purpose.TRAINING,
    strategy: Annotated[
        str | None,
        typer.Option(help="How to choose: margin, badge, ... (see docs/strategies.md); default: query.strategy."),
    ] = None,
    gamma: Annotated[
        float | None,
        typer.Option(help="Weight of the interaction with the labeled set (dynamical): 0 to inf.", metavar="γ"),
    ] = None,
    new: Annotated[bool, typer.Option("--new", help="Issue another batch although one is open.")] = False,
    key: Annotated[
        str | None, typer.Option(help="With --new: issue at most one batch under this name.", metavar="TEXT")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write here (atomically) instead of stdout.", metavar="FILE")
    ] = None,
    stale_ok: StaleOk = False,
    wait: Wait = 0.0,
    directory: Directory = None,
    quiet: Quiet = False,
) -> None:
    """Hand out the samples worth labeling next, as CSV; an open batch is printed again."""
    from dalcli.cli import render
    from dalcli.commands import query as command

    options = command.Options(budget, purpose.value, strategy, gamma, new, key, stale_ok, wait)
    command.check(options)
    render.check_output(output)
    with session_of(directory, quiet) as session:
        result = command.run(session, options)
        render.deliver(result.csv, output, f"batch {result.batch_id} stays open: run the same command again")


@app.command(
    "ingest-labels",
    epilog="Example: dalcli ingest-labels labels.csv. The file needs a label column and one of sample_id, path, "
    "image, file_name; annotator, cost, seconds, labeled_at and skipped are kept when present.",
)
def ingest_labels(
    file: Annotated[Path, typer.Argument(help="A CSV or TSV of labels; - reads standard input.", allow_dash=True)],
    on_conflict: Annotated[
        OnConflict, typer.Option(help="When a label differs from the same annotator's earlier one.")
    ] = OnConflict.REFUSE,
    allow_new_classes: Annotated[
        bool, typer.Option("--allow-new-classes", help="Unknown classes are new ones; the model grows.")
    ] = False,
    directory: Directory = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Record labels, all of a file or nothing of it."""
    from dalcli.cli import render
    from dalcli.commands import ingest_labels as command

    with session_of(directory, quiet) as session:
        result = command.run(session, file, on_conflict=on_conflict.value, allow_new_classes=allow_new_classes)
        render.show(result, json)


@app.command(epilog="Example: dalcli evaluate --json")
def evaluate(
    model: Annotated[
        str | None, typer.Option(help="Measure this version; default: the newest.", metavar="VERSION")
    ] = None,
    directory: Directory = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure accuracy, per-class quality and calibration on the evaluation set."""
    from dalcli.cli import render
    from dalcli.commands import evaluate as command

    with session_of(directory, quiet) as session:
        render.show(command.run(session, model), json)


@app.command(epilog="Example: dalcli diagnose --budget 100")
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
    """Check the theory behind the scores: batch size, convergence, drift of the labeled set. Changes nothing."""
    from dalcli.cli import render
    from dalcli.commands import diagnose as command

    options = command.Options(budget, samples, random_batches, ridge, sketch, labels, model, seed)
    command.check(options)
    with session_of(directory, quiet) as session:
        render.show(command.run(session, options), json)


@app.command(epilog="Example: dalcli status")
def status(directory: Directory = None, json: Json = False, quiet: Quiet = False) -> None:
    """Show where the loop stands and what to do next."""
    from dalcli.cli import render
    from dalcli.commands import status as command

    with session_of(directory, quiet) as session:
        render.show(command.run(session), json)


app.command(epilog=SIMULATE_EXAMPLE)(simulate)
