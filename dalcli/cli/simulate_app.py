"""``dalcli simulate``: what can be typed, and its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dalcli.cli.options import Json, Quiet, feedback_of

simulate_app = typer.Typer()


@simulate_app.command(
    epilog="Example: dalcli simulate digits.yaml --jobs 2. A killed simulation continues; once all cells are done, the "
    "same command prints the same tables without computing."
)
def simulate(
    config: Annotated[Path, typer.Argument(help="Strategies, seeds, rounds, images: see docs/simulate.md.")],
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs", "-j", min=1, max=1024, metavar="N", help="Cells at once; default: as the machine bears."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Results; default: a folder beside CONFIG.")
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Say how many cells are left and how long they take; compute none. Reads the images, and downloads "
            "them if `source.download` says so.",
        ),
    ] = False,
    report: Annotated[bool, typer.Option("--report", help="Print the results so far; compute nothing.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the workspaces of finished cells.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare strategies on images with known labels.

    The loop is replayed for every strategy and seed.
    """
    from dalcli.cli import render, render_simulation
    from dalcli.cli.streams import aside
    from dalcli.errors import UsageError
    from dalcli.simulation.run import SimulateRequest, estimate
    from dalcli.simulation.run import simulate as simulated

    if dry_run and report:
        raise UsageError("--dry-run and --report exclude each other", "choose one of them")
    request = SimulateRequest(config, output, jobs, keep, only_print=report)
    feedback = feedback_of(quiet)
    with aside():
        if dry_run:
            render.show(estimate(request, feedback), render_simulation.estimate, json)
        else:
            render.show(simulated(request, feedback), render_simulation.simulation, json)
