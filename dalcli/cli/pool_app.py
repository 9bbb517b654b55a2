"""Signatures of ``dalcli pool ...``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dalcli.cli.options import Directory, Json, Quiet, session_of

pool_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Add images, list them, see what is unreadable."
)


@pool_app.command("add", epilog="Example: dalcli pool add more_photos/")
def pool_add(
    sources: Annotated[list[Path] | None, typer.Argument(help="Folders, manifests or images.")] = None,
    test: Annotated[Path | None, typer.Option(help="More labeled test images.", metavar="PATH")] = None,
    labels_from_folders: Annotated[
        bool, typer.Option("--labels-from-folders", help="The folder of an image is its label.")
    ] = False,
    directory: Directory = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Register more images; known ones are recognised by their bytes."""
    from dalcli.cli import render
    from dalcli.commands import pool

    with session_of(directory, quiet) as session:
        render.show(pool.add(session, sources or [], test, labels_from_folders), json)


@pool_app.command("list", epilog="Example: dalcli pool list --state labeled")
def pool_list(
    state: Annotated[
        list[str] | None,
        typer.Option(
            help="Only samples in this state: unlabeled, 'in flight', labeled, disputed, skipped, quarantined."
        ),
    ] = None,
    directory: Directory = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Print every sample with its state as CSV."""
    from dalcli.cli import render
    from dalcli.commands import pool

    with session_of(directory, quiet) as session:
        render.show(pool.listing(session, state or ()), json)


@pool_app.command("quarantine", epilog="Example: dalcli pool quarantine")
def pool_quarantine(directory: Directory = None, json: Json = False, quiet: Quiet = False) -> None:
    """Print the files that could not be read, with the reason. Mended files come back with `pool add`."""
    from dalcli.cli import render
    from dalcli.commands import pool

    with session_of(directory, quiet) as session:
        render.show(pool.quarantined(session), json)


@pool_app.command("relocate", epilog="Example: dalcli pool relocate /old/disk/photos /new/disk/photos")
def pool_relocate(
    old: Annotated[Path, typer.Argument(help="Where the images were.")],
    new: Annotated[Path, typer.Argument(help="Where they are now.")],
    directory: Directory = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Follow images that were moved; their bytes are compared first."""
    from dalcli.cli import render
    from dalcli.commands import pool

    with session_of(directory, quiet) as session:
        render.show(pool.relocate(session, old, new), json)
