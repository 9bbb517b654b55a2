"""Signatures of ``dalcli init`` and ``dalcli pool ...``: which images there are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dalcli.cli.options import Directory, Json, Quiet, class_list, directory_of, feedback_of, session_of
from dalcli.cli.streams import aside

init_app = typer.Typer()
pool_app = typer.Typer(no_args_is_help=True, help="Add images, list them, see what is unreadable.")


@init_app.command(epilog="Example: dalcli init photos/ --classes cat,dog,other")
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
    model: Annotated[
        str | None,
        typer.Option(help="What looks at images: a torchvision model, timm:NAME, module:function.", metavar="NAME"),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(help="Its pretrained weights: a file, or a name such as DEFAULT.", metavar="FILE|NAME"),
    ] = None,
    directory: Directory = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a workspace and register its images.

    The current directory becomes one, or that of -C DIR.
    """
    from dalcli.cli import render, render_pool
    from dalcli.commands import init as command

    request = command.InitRequest(
        sources=sources or [],
        classes=class_list(classes),
        test=test,
        labels_from_folders=labels_from_folders,
        config=config,
        model=model,
        weights=weights,
    )
    with aside():
        result = command.run(directory_of(directory) or Path.cwd(), request, feedback_of(quiet))
        render.show(result, render_pool.init, json)


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
    """Register more images.

    Known ones are recognised by their bytes.
    """
    from dalcli.cli import render, render_pool
    from dalcli.commands import pool

    with session_of(directory, quiet) as session:
        render.show(pool.add(session, sources or [], test, labels_from_folders), render_pool.pool_counts, json)


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
    from dalcli.cli import render, render_pool
    from dalcli.commands import pool

    with session_of(directory, quiet) as session:
        render.show(pool.listing(session, state or ()), render_pool.pool_listing, json)


@pool_app.command("quarantine", epilog="Example: dalcli pool quarantine")
def pool_quarantine(directory: Directory = None, json: Json = False, quiet: Quiet = False) -> None:
    """Print the files that could not be read, with the reason.

    Mended files come back with `pool add`.
    """
    from dalcli.cli import render, render_pool
    from dalcli.commands import pool

    with session_of(directory, quiet) as session:
        render.show(pool.quarantined(session), render_pool.quarantine, json)


@pool_app.command("relocate", epilog="Example: dalcli pool relocate /old/disk/photos /new/disk/photos")
def pool_relocate(
    old: Annotated[Path, typer.Argument(help="Where the images were.")],
    new: Annotated[Path, typer.Argument(help="Where they are now.")],
    directory: Directory = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Follow images that were moved; their bytes are compared first."""
    from dalcli.cli import render, render_pool
    from dalcli.commands import pool

    with session_of(directory, quiet) as session:
        render.show(pool.relocate(session, old, new), render_pool.relocation, json)
