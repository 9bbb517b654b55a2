"""Signature of ``dalcli label``: a page in the browser, for whoever has no labeling tool."""

from __future__ import annotations

from typing import Annotated

import typer

from dalcli.cli.options import Directory, Json, Quiet, session_of

label_app = typer.Typer()


@label_app.command(epilog="Example: dalcli label --annotator ann")
def label(
    batch_id: Annotated[
        str | None, typer.Argument(help="As in the batch_id column; default: every open batch.", show_default=False)
    ] = None,
    annotator: Annotated[
        str,
        typer.Option(help="Whose answers they are; can be changed in the page.", metavar="NAME", show_default=False),
    ] = "",
    relabel: Annotated[
        bool, typer.Option("--relabel", help="Show disputed samples, with what everybody said, instead of a batch.")
    ] = False,
    host: Annotated[
        str, typer.Option(help="Listen at this address; needs --token if other machines can reach it.", metavar="HOST")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Listen at this port; 0: any that is free.", metavar="PORT")] = 0,
    token: Annotated[
        str | None,
        typer.Option(
            help="The secret part of the page's address, instead of a random one.",
            envvar="DALCLI_LABEL_TOKEN",
            metavar="TEXT",
        ),
    ] = None,
    proposals: Annotated[
        bool,
        typer.Option("--proposals", help="Print the classes that were proposed in the page, as a label file, and end."),
    ] = False,
    directory: Directory = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Label the open batch in a browser.

    The page is served until Ctrl-C; every answer is in the ledger before the next image is shown.
    """
    from dalcli.cli import render, render_label
    from dalcli.cli.streams import say
    from dalcli.commands import label as command

    request = command.LabelRequest(annotator, batch_id, relabel, host, port, token)
    command.check(request)
    with session_of(directory, quiet) as session:
        if proposals:
            render.deliver(command.proposals_csv(session), None, render.SAFE)
            return
        result = command.run(session, request, say)
        render.show(result, render_label.label, json)
        if result.outstanding:  # so that `dalcli label && dalcli train` goes on only when it is done
            raise KeyboardInterrupt
