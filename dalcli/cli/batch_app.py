"""Signatures of ``dalcli batch ...``."""

from __future__ import annotations

from typing import Annotated

import typer

from dalcli.cli.options import Directory, Json, Quiet, session_of

batch_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="What is out for labeling, and what came back."
)


@batch_app.command("list", epilog="Example: dalcli batch list")
def batch_list(directory: Directory = None, json: Json = False, quiet: Quiet = False) -> None:
    """Print all batches and how far they have come back."""
    from dalcli.cli import render
    from dalcli.commands import batch

    with session_of(directory, quiet) as session:
        render.show(batch.listing(session), json)


@batch_app.command("show", epilog="Example: dalcli batch show b-0001")
def batch_show(
    batch_id: Annotated[str, typer.Argument(help="As in the batch_id column.")],
    csv: Annotated[bool, typer.Option("--csv", help="Print the bytes its query printed.")] = False,
    directory: Directory = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Print one batch, row by row."""
    from dalcli.cli import render
    from dalcli.commands import batch

    with session_of(directory, quiet) as session:
        if csv:
            render.deliver(batch.stored_csv(session, batch_id), None, "the batch is unchanged")
        else:
            render.show(batch.show(session, batch_id), json)


@batch_app.command("release", epilog="Example: dalcli batch release b-0001")
def batch_release(
    batch_id: Annotated[str, typer.Argument(help="As in the batch_id column.")],
    directory: Directory = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Give the samples still out back to the pool; late answers are accepted all the same."""
    from dalcli.cli import render
    from dalcli.commands import batch

    with session_of(directory, quiet) as session:
        render.show(batch.release(session, batch_id), json)
