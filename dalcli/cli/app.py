"""The program: what stands before a command, and all commands in the order of a round.

Signatures are in the ``*_app`` modules, what they print in the ``render_*`` modules, the work in ``dalcli.commands``.
Imports of commands happen inside the functions, so that ``dalcli --help`` costs little more than Typer.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from dalcli import __version__
from dalcli.cli.export_app import export_app
from dalcli.cli.label_app import label_app
from dalcli.cli.label_studio_app import label_studio_app
from dalcli.cli.labels_app import classes_app, labels_app
from dalcli.cli.loop_app import batch_app, loop_app
from dalcli.cli.model_app import model_app
from dalcli.cli.options import Quiet, RootDirectory, remember
from dalcli.cli.plan_app import plan_app
from dalcli.cli.pool_app import init_app, pool_app
from dalcli.cli.predict_app import predict_app
from dalcli.cli.report_app import report_app
from dalcli.cli.run_app import run_app
from dalcli.cli.simulate_app import simulate_app
from dalcli.cli.torchrun import refuse_others

ROUND = (
    "init", "pool", "query", "batch", "label", "label-studio", "ingest-labels", "labels", "classes", "train", "score",
    "evaluate", "status", "plan", "predict", "export-model", "report", "run", "diagnose", "simulate",
)  # fmt: skip
"""A round from its first command to its last, then what is asked now and then."""

EXIT_CODES = (
    "Exit codes: 0 done; 1 failed, state intact; 2 usage; 3 bad input, nothing changed; 4 locked; "
    "5 not ready (the message names the command to run); 6 nothing left to query; 10 to 13 verdicts of plan "
    "--exit-code; 70 a bug; 130/143 interrupted."
)


class InOrderOfARound(TyperGroup):
    """Lists commands as they are needed; Typer itself would put those with sub-commands last."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = {name: self.commands[name] for name in sorted(self.commands, key=ROUND.index)}


app = typer.Typer(
    name="dalcli",
    cls=InOrderOfARound,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for part in (
    init_app, loop_app, label_app, model_app, predict_app, export_app, report_app, run_app, simulate_app,
):  # fmt: skip
    app.add_typer(part)
app.add_typer(pool_app, name="pool")
app.add_typer(batch_app, name="batch")
app.add_typer(label_studio_app, name="label-studio")
app.add_typer(labels_app, name="labels")
app.add_typer(classes_app, name="classes")
app.add_typer(plan_app, name="plan")


def _version(value: bool) -> None:
    if value:
        typer.echo(f"dalcli {__version__}")
        raise typer.Exit


@app.callback(epilog=EXIT_CODES)
def root(
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
