"""Signatures of ``dalcli labels ...`` and ``classes ...``: what was said, by whom, and what it amounts to."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from dalcli.cli.loop_app import Purpose
from dalcli.cli.options import Directory, Json, Quiet, Wait, session_of

labels_app = typer.Typer(no_args_is_help=True, help="Who said what; annotators compared; labels to doubt.")
classes_app = typer.Typer(no_args_is_help=True, help="The class list; rename a class, or merge two.")


class ExportFormat(StrEnum):
    """Where exported labels go."""

    CSV = "csv"
    IMAGEFOLDER = "imagefolder"
    LABEL_STUDIO = "label-studio"


@labels_app.command("show", epilog="Example: dalcli labels show photos/img_17.jpg")
def labels_show(
    sample: Annotated[str, typer.Argument(help="A sample_id, or a path of the image.")],
    directory: Directory = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Print who said what of one sample, and what counts."""
    from dalcli.cli import render, render_labels
    from dalcli.commands import labels

    with session_of(directory, quiet) as session:
        render.show(labels.show(session, sample), render_labels.sample, json)


@labels_app.command("log", epilog="Example: dalcli labels log --annotator ann > ann.csv")
def labels_log(
    sample: Annotated[str | None, typer.Option(help="Only of this sample: an id or a path.", metavar="TEXT")] = None,
    annotator: Annotated[
        str | None, typer.Option(help="Only by this annotator; '' is whoever gave no name.", metavar="NAME")
    ] = None,
    purpose: Annotated[Purpose | None, typer.Option(help="Only labels for this.")] = None,
    directory: Directory = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Print everything that was ever said, in order, as CSV.

    Corrections stand beside what they replaced; renamed and merged classes are events, too.
    """
    from dalcli.cli import render, render_labels
    from dalcli.commands import labels

    with session_of(directory, quiet) as session:
        found = labels.log(session, sample, annotator, None if purpose is None else purpose.value)
        render.show(found, render_labels.log, json)


@labels_app.command("disputed", epilog="Example: dalcli labels disputed")
def labels_disputed(directory: Directory = None, json: Json = False, quiet: Quiet = False) -> None:
    """Print the samples that annotators disagree on, as CSV.

    No model is trained on them. `query --relabel N` hands them out again.
    """
    from dalcli.cli import render, render_labels
    from dalcli.commands import labels

    with session_of(directory, quiet) as session:
        render.show(labels.disputed(session), render_labels.disputed, json)


@labels_app.command("annotators", epilog="Example: dalcli labels annotators")
def labels_annotators(directory: Directory = None, json: Json = False, quiet: Quiet = False) -> None:
    """Compare annotators: agreement, kappa, speed, cost."""
    from dalcli.cli import render, render_labels
    from dalcli.commands import labels

    with session_of(directory, quiet) as session:
        render.show(labels.annotators(session), render_labels.annotators, json)


@labels_app.command("suspects", epilog="Example: dalcli labels suspects > suspects.csv")
def labels_suspects(wait: Wait = 0.0, directory: Directory = None, json: Json = False, quiet: Quiet = False) -> None:
    """Print the labels that a model contradicts, as CSV.

    The model has not seen the label in question. `query --relabel N --suspects` hands them out for another look.
    """
    from dalcli.cli import render, render_labels
    from dalcli.commands import labels

    with session_of(directory, quiet) as session:
        render.show(labels.find_suspects(session, wait), render_labels.suspects, json)


@labels_app.command("export", epilog="Example: dalcli labels export --format imagefolder --output dataset/")
def labels_export(
    form: Annotated[
        ExportFormat, typer.Option("--format", help="A table; a folder per class with copies; tasks to import.")
    ] = ExportFormat.CSV,
    votes: Annotated[
        bool, typer.Option("--votes", help="csv: what each annotator says, as ingest-labels reads it.")
    ] = False,
    auto: Annotated[
        bool, typer.Option("--auto", help="Labels of `predict --auto`, too, each with the model that gave it.")
    ] = False,
    purpose: Annotated[Purpose | None, typer.Option(help="Only labels for this.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write here (atomically) instead of stdout.", metavar="PATH")
    ] = None,
    directory: Directory = None,
    quiet: Quiet = False,
) -> None:
    """Write the labels that count for other programs."""
    from dalcli.cli import render
    from dalcli.commands import labels

    labels.check_export(form.value, output, votes, auto)
    if form is not ExportFormat.IMAGEFOLDER:
        render.check_output(output)
    with session_of(directory, quiet) as session:
        wanted: Literal["training", "evaluation"] | None = None if purpose is None else purpose.value
        result = labels.export(session, form.value, output, votes=votes, purpose=wanted, auto=auto)
        if result.data is not None:
            render.deliver(result.data, output, "the labels are unchanged: run the same command again")


@classes_app.command("list", epilog="Example: dalcli classes list")
def classes_list(directory: Directory = None, json: Json = False, quiet: Quiet = False) -> None:
    """Print the classes, and what happened to them."""
    from dalcli.cli import render, render_labels
    from dalcli.commands import classes

    with session_of(directory, quiet) as session:
        render.show(classes.listing(session), render_labels.classes, json)


@classes_app.command("rename", epilog="Example: dalcli classes rename kitten cat")
def classes_rename(
    old: Annotated[str, typer.Argument(help="What it is called now.")],
    new: Annotated[str, typer.Argument(help="What it is to be called.")],
    directory: Directory = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Give a class another name.

    Models stay as they are, and labels that still say the old name are understood.
    """
    from dalcli.cli import render, render_labels
    from dalcli.commands import classes

    with session_of(directory, quiet) as session:
        render.show(classes.rename(session, old, new), render_labels.classes, json)


@classes_app.command("merge", epilog="Example: dalcli classes merge kitten cat")
def classes_merge(
    part: Annotated[str, typer.Argument(help="The class that ends.")],
    whole: Annotated[str, typer.Argument(help="What it is a part of from now on.")],
    directory: Directory = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Let one class count as another from now on.

    Labels stay what was said, and older models stay usable; there is no command that parts them again.
    """
    from dalcli.cli import render, render_labels
    from dalcli.commands import classes

    with session_of(directory, quiet) as session:
        render.show(classes.merge(session, part, whole), render_labels.classes, json)
