"""Signature of ``dalcli export-model``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dalcli.cli.options import Directory, Json, Quiet, session_of

export_app = typer.Typer()


@export_app.command("export-model", epilog="Example: dalcli export-model cats/ --format torch-export")
def export_model(
    out: Annotated[Path, typer.Argument(help="The folder to make; must not be there yet.", metavar="OUT")],
    model: Annotated[
        str | None, typer.Option(help="Export this version; default: the newest.", metavar="VERSION")
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="safetensors (tensors, for a network of torch, torchvision or timm), torch-export (the graph, for "
            "torch alone), onnx (the graph, for onnxruntime; needs dalcli[onnx]), or all. Default: safetensors, or "
            "torch-export where no library builds the network.",
            metavar="FORMAT",
        ),
    ] = None,
    hf: Annotated[
        bool, typer.Option("--hf", help="A folder hf/ that timm and transformers load; beside --format, or alone.")
    ] = False,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8", help="The ONNX graph in eight bits, too, with what that costs on the evaluation labels."
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export; never anything else.")] = False,
    wait: Annotated[float, typer.Option(metavar="SECONDS", min=0, help="Wait this long for another export.")] = 0.0,
    directory: Directory = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write the model as a folder that runs without dalcli.

    With class names, the recipe for images and an example. What was written is run in a process of its own and held
    against dalcli's own probabilities.
    """
    from dalcli.cli import render, render_export
    from dalcli.commands import export_model as command

    request = command.ExportRequest(out=out, model=model, format=form, hf=hf, int8=int8, force=force, wait=wait)
    command.check(request)
    with session_of(directory, quiet) as session:
        render.show(command.run(session, request), render_export.export_model, json)
