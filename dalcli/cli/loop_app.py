"""Signatures of ``dalcli query``, ``batch ...``, ``ingest-labels``, ``status``: what goes out, and what comes back."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from dalcli.cli.options import Directory, Json, Quiet, StaleOk, Wait, session_of

loop_app = typer.Typer()
batch_app = typer.Typer(no_args_is_help=True, help="What is out for labeling, and what came back.")


class Purpose(StrEnum):
    """What the labels will be used for."""

    TRAINING = "training"
    EVALUATION = "evaluation"


class OnConflict(StrEnum):
    """What happens to a label that differs from the same annotator's earlier one."""

    REFUSE = "refuse"
    REPLACE = "replace"
    KEEP = "keep"


@loop_app.command(epilog="Example: dalcli query --budget 250 > to_label.csv")
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
    control: Annotated[
        float | None,
        typer.Option(
            help="Draw this fraction at random, to tell what the strategy is worth; default: query.control.",
            metavar="FRACTION",
        ),
    ] = None,
    new: Annotated[bool, typer.Option("--new", help="Issue another batch although one is open.")] = False,
    key: Annotated[
        str | None, typer.Option(help="With --new: issue at most one batch under this name.", metavar="TEXT")
    ] = None,
    relabel: Annotated[
        int | None, typer.Option(help="Hand out N samples that annotators disagree on, for another look.", metavar="N")
    ] = None,
    suspects: Annotated[
        bool, typer.Option("--suspects", help="With --relabel: labels that `labels suspects` found instead.")
    ] = False,
    auto_labeled: Annotated[
        bool,
        typer.Option("--auto-labeled", help="Draw from what `predict --auto` has labeled, for people to check it."),
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write here (atomically) instead of stdout.", metavar="FILE")
    ] = None,
    format: Annotated[  # noqa: A002  (it is what the option is called)
        str,
        typer.Option(
            help="csv, jsonl, paths, label-studio, cvat, sagemaker, prodigy or labelbox (see docs/labels.md).",
            metavar="FORMAT",
        ),
    ] = "csv",
    image_url: Annotated[
        str | None,
        typer.Option(help="What a tool's addresses of images begin with, e.g. s3://bucket/pool/.", metavar="URL"),
    ] = None,
    stale_ok: StaleOk = False,
    wait: Wait = 0.0,
    directory: Directory = None,
    quiet: Quiet = False,
) -> None:
    """Hand out the samples worth labeling next.

    While a batch for the same purpose is open, it is printed again.
    """
    from dalcli.cli import render
    from dalcli.commands import query as command

    options = command.Options(
        budget=budget,
        purpose=purpose.value,
        strategy=strategy,
        gamma=gamma,
        control=control,
        new=new,
        key=key,
        stale_ok=stale_ok,
        wait=wait,
        relabel=relabel,
        suspects=suspects,
        format=format,
        image_url=image_url,
        auto_labeled=auto_labeled,
    )
    command.check(options)
    render.check_output(output)
    with session_of(directory, quiet) as session:
        result = command.run(session, options)
        render.deliver(result.data, output, f"batch {result.batch_id} stays open: run the same command again")


@batch_app.command("list", epilog="Example: dalcli batch list")
def batch_list(directory: Directory = None, json: Json = False, quiet: Quiet = False) -> None:
    """Print all batches and how far they have come back."""
    from dalcli.cli import render, render_loop
    from dalcli.commands import batch

    with session_of(directory, quiet) as session:
        render.show(batch.listing(session), render_loop.batch_listing, json)


@batch_app.command("show", epilog="Example: dalcli batch show b-0001")
def batch_show(
    batch_id: Annotated[str, typer.Argument(help="As in the batch_id column.")],
    csv: Annotated[bool, typer.Option("--csv", help="Print the bytes its query printed.")] = False,
    directory: Directory = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Print one batch, row by row."""
    from dalcli.cli import render, render_loop
    from dalcli.commands import batch

    with session_of(directory, quiet) as session:
        if csv:
            render.deliver(batch.stored_csv(session, batch_id), None, "the batch is unchanged")
        else:
            render.show(batch.show(session, batch_id), render_loop.batch_details, json)


@batch_app.command("release", epilog="Example: dalcli batch release b-0001")
def batch_release(
    batch_id: Annotated[str, typer.Argument(help="As in the batch_id column.")],
    directory: Directory = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Give the samples still out back to the pool.

    Late answers are accepted all the same.
    """
    from dalcli.cli import render, render_loop
    from dalcli.commands import batch

    with session_of(directory, quiet) as session:
        render.show(batch.release(session, batch_id), render_loop.batch_details, json)


@loop_app.command(
    "ingest-labels",
    epilog="Example: dalcli ingest-labels labels.csv. A table needs a label column and one of sample_id, path, "
    "image, file_name; annotator, cost, seconds, labeled_at and skipped are kept when present.",
)
def ingest_labels(
    file: Annotated[
        Path,
        typer.Argument(
            help="A table, a labeling tool's export, or a folder per class; - reads standard input.", allow_dash=True
        ),
    ],
    format: Annotated[  # noqa: A002  (it is what the option is called)
        str,
        typer.Option(
            help="auto, csv, tsv, xlsx, jsonl, label-studio, label-studio-min, label-studio-table, cvat, datumaro, "
            "imagefolder, imagenet-txt, sagemaker, prodigy or labelbox (see docs/labels.md).",
            metavar="FORMAT",
        ),
    ] = "auto",
    label_column: Annotated[
        str | None,
        typer.Option(
            help="The column, control, job or question that holds the class, if there are several.", metavar="NAME"
        ),
    ] = None,
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
    from dalcli.cli import render, render_loop
    from dalcli.commands import ingest_labels as command

    options = command.Options(format, label_column, on_conflict.value, allow_new_classes)
    command.check(options)
    with session_of(directory, quiet) as session:
        result = command.run(session, file, options)
        render.show(result, render_loop.ingest, json)


@loop_app.command(epilog="Example: dalcli status")
def status(directory: Directory = None, json: Json = False, quiet: Quiet = False) -> None:
    """Show where the loop stands and what to do next."""
    from dalcli.cli import render, render_loop
    from dalcli.commands import status as command

    with session_of(directory, quiet) as session:
        render.show(command.run(session), render_loop.status, json)
