"""Signatures of ``dalcli label-studio ...``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from dalcli.cli.options import Directory, Json, Quiet, session_of

label_studio_app = typer.Typer(no_args_is_help=True, help="Batches to a Label Studio server, and answers back.")

Credentials = Annotated[
    Path | None,
    typer.Option(
        help="A file (mode 600) with LABEL_STUDIO_URL=... and LABEL_STUDIO_API_KEY=...; default: the environment.",
        metavar="FILE",
        show_default=False,
    ),
]
RetryFor = Annotated[
    float, typer.Option("--retry-for", min=0, help="How long to ask a silent server again.", metavar="SECONDS")
]


class Images(StrEnum):
    """How images get to the labelers."""

    AUTO = "auto"
    LOCAL = "local"
    DATA = "data"


@label_studio_app.command("config", epilog="Example: dalcli label-studio config > interface.xml")
def label_studio_config(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write here (atomically) instead of stdout.", metavar="FILE")
    ] = None,
    directory: Directory = None,
    quiet: Quiet = False,
) -> None:
    """Print the labeling interface for the classes, as XML.

    Paste it into a project's settings; projects that `push` makes have it already.
    """
    from dalcli.cli import render
    from dalcli.commands import label_studio

    render.check_output(output)
    with session_of(directory, quiet) as session:
        render.deliver(label_studio.config(session), output, render.SAFE)


@label_studio_app.command("push", epilog="Example: dalcli label-studio push --title animals")
def label_studio_push(
    batch_id: Annotated[
        str | None, typer.Argument(help="As in the batch_id column; default: every open batch.", show_default=False)
    ] = None,
    project: Annotated[
        int | None,
        typer.Option(min=1, help="The number of the project; default: where the last batch went.", metavar="ID"),
    ] = None,
    title: Annotated[
        str | None,
        typer.Option(help="The project of this title; made if there is none.", metavar="TEXT", show_default=False),
    ] = None,
    images: Annotated[
        Images,
        typer.Option(help="local: the server reads the files itself; data: inside the tasks; auto: local if it can."),
    ] = Images.AUTO,
    image_url: Annotated[
        str | None,
        typer.Option(help="What addresses of the images begin with, if they are served elsewhere.", metavar="PREFIX"),
    ] = None,
    credentials: Credentials = None,
    retry_for: RetryFor = 60.0,
    directory: Directory = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Put the open batch on a Label Studio server.

    Rows that are there already are not sent again, whatever was cut off before. The model's guesses ride along.
    """
    from dalcli.cli import render, render_label
    from dalcli.commands import label_studio

    request = label_studio.PushRequest(batch_id, project, title, images.value, image_url)
    label_studio.check_push(request)
    opened = label_studio.door(credentials)
    with session_of(directory, quiet) as session:
        render.show(label_studio.push(session, request, opened, retry_for), render_label.pushed, json)


@label_studio_app.command("pull", epilog="Example: dalcli label-studio pull")
def label_studio_pull(
    project: Annotated[
        int | None,
        typer.Option(min=1, help="Only this project; default: all that batches were pushed to.", metavar="ID"),
    ] = None,
    control: Annotated[
        str | None,
        typer.Option("--label-column", help="The control that holds the class, of several.", metavar="NAME"),
    ] = None,
    allow_new_classes: Annotated[
        bool, typer.Option("--allow-new-classes", help="Take labels that are no class yet as new classes.")
    ] = False,
    credentials: Credentials = None,
    retry_for: RetryFor = 60.0,
    directory: Directory = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Record what was answered on the server since the last pull.

    All of it or nothing; an answer that was changed there is its annotator's newer vote.
    """
    from dalcli.cli import render, render_label
    from dalcli.commands import label_studio

    opened = label_studio.door(credentials)
    request = label_studio.PullRequest(project, control, allow_new_classes)
    with session_of(directory, quiet) as session:
        render.show(label_studio.pull(session, request, opened, retry_for), render_label.pulled, json)
