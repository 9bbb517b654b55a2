"""The program: what stands before a command, and all commands in the order of a round.

Signatures are in the ``*_app`` modules, what they print in the ``render_*`` modules, the work in ``dalcli.commands``.
Imports of commands happen inside the functions, and of all signatures only those that a command line can be about are
read, so that ``dalcli --help`` costs little more than Typer, and ``dalcli query`` no more than query.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from dalcli import __version__
from dalcli.cli.options import Quiet, RootDirectory, remember
from dalcli.cli.torchrun import refuse_others

COMMANDS = {
    "init": "pool_app:init_app",
    "pool": "pool_app:pool_app",
    "query": "loop_app:loop_app",
    "batch": "loop_app:batch_app",
    "label": "label_app:label_app",
    "label-studio": "label_studio_app:label_studio_app",
    "ingest-labels": "loop_app:loop_app",
    "labels": "labels_app:labels_app",
    "classes": "labels_app:classes_app",
    "train": "model_app:model_app",
    "score": "model_app:model_app",
    "evaluate": "model_app:model_app",
    "status": "loop_app:loop_app",
    "plan": "plan_app:plan_app",
    "predict": "predict_app:predict_app",
    "export-model": "export_app:export_app",
    "report": "report_app:report_app",
    "run": "run_app:run_app",
    "diagnose": "model_app:model_app",
    "simulate": "simulate_app:simulate_app",
}
"""Where each command's signature is. A round from its first command to its last, then what is asked now and then."""

_WITH_COMMANDS = frozenset({"pool", "batch", "label-studio", "labels", "classes", "plan"})

EXIT_CODES = (
    "Exit codes: 0 done; 1 failed, state intact; 2 usage; 3 bad input, nothing changed; 4 locked; "
    "5 not ready (the message names the command to run); 6 nothing left to query; 10 to 13 verdicts of plan "
    "--exit-code; 70 a bug; 130/143 interrupted."
)


class InOrderOfARound(TyperGroup):
    """Lists commands as they are needed; Typer itself would put those with sub-commands last."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        order = list(COMMANDS)
        self.commands = {name: self.commands[name] for name in sorted(self.commands, key=order.index)}


def program(commands: Iterable[str] = COMMANDS) -> typer.Typer:
    """The program with (at least) these of its commands."""
    made = typer.Typer(
        name="dalcli",
        cls=InOrderOfARound,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    made.callback(epilog=EXIT_CODES)(_root)
    places: dict[str, str | None] = {COMMANDS[name]: name if name in _WITH_COMMANDS else None for name in commands}
    for place, name in places.items():
        module, attribute = place.split(":")
        made.add_typer(getattr(import_module(f"dalcli.cli.{module}"), attribute), name=name)
    return made


def program_for(arguments: list[str]) -> typer.Typer:
    """The program as far as a command line needs it: the whole of it unless that begins with a command."""
    return program(arguments[:1] if arguments and arguments[0] in COMMANDS else COMMANDS)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"dalcli {__version__}")
        raise typer.Exit


def _root(
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
