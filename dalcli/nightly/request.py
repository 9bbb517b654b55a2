"""From the command line and the configuration to what a night is to do; refused before anything is done."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from dalcli.commands import query
from dalcli.config.querying import MAX_BUDGET
from dalcli.errors import BadInputError, UsageError
from dalcli.nightly.deadline import Deadline, next_time
from dalcli.nightly.step import NightOptions
from dalcli.workspace.outputs import require_replaceable, require_writable
from dalcli.workspace.session import Session


@dataclass(frozen=True)
class Asked:
    """What the command line said; None: not named."""

    budget: int | None = None
    output: Path | None = None
    inbox: Path | None = None
    evaluation_budget: int | None = None
    until: str | None = None
    wait: float = 0.0
    dry_run: bool = False


def check(asked: Asked) -> Deadline:
    """Refuse what no workspace could make sense of; when the night ends.

    Raises:
        UsageError: an option is out of range.
    """
    for name, value in (("--budget", asked.budget), ("--evaluation-budget", asked.evaluation_budget)):
        if value is not None and not 1 <= value <= MAX_BUDGET:
            raise UsageError(f"{name} {value} is out of range", f"ask for 1 to {MAX_BUDGET} samples")
    return Deadline() if asked.until is None else next_time(asked.until, datetime.now().astimezone())


def options(session: Session, asked: Asked) -> NightOptions:
    """The same with the configuration behind it.

    Raises:
        UsageError: nothing says how many samples are to go out.
        BadInputError: a folder that was named is not there.
    """
    config, workspace = session.config.run, session.workspace
    budget = asked.budget if asked.budget is not None else session.config.query.budget
    if budget is None:
        raise UsageError("no budget given", "pass --budget N, or set query.budget in dalcli.yaml")
    query.check(query.Options(budget=budget, format=config.format, image_url=config.image_url))
    output = workspace.root / config.output if asked.output is None else asked.output.absolute()
    if output.is_dir():
        raise BadInputError(f"{output}: is a folder", "name a file: --output FILE")
    if str(asked.output) == "-" or (output.exists() and not output.is_file()):
        raise BadInputError(f"{output}: is no file", "stdout has the night's table: --output FILE")
    if not output.parent.is_dir():
        raise BadInputError(f"{output.parent}: no such folder", "create it, or name another file: --output FILE")
    require_replaceable(output)
    require_writable(output.resolve().parent)
    if asked.inbox is not None and not asked.inbox.is_dir():
        raise BadInputError(f"{asked.inbox}: no such folder", "create it, or leave --inbox out")
    folder = workspace.root / config.inbox if asked.inbox is None else asked.inbox.absolute()
    if folder.resolve() in output.resolve().parents:
        raise BadInputError(
            f"{output}: lies in the inbox: the batch would be taken in as its own answers",
            "write it elsewhere: --output FILE",
        )
    if config.credentials is not None and not workspace.absolute_path(config.credentials).is_file():
        raise BadInputError(
            f"{workspace.config_path}: run.credentials: {config.credentials}: no such file",
            "name the file with LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY",
        )
    evaluation = asked.evaluation_budget if asked.evaluation_budget is not None else config.evaluation_budget
    return NightOptions(
        budget=budget,
        output=output,
        inbox=folder,
        evaluation_budget=evaluation,
        wait=asked.wait,
        dry_run=asked.dry_run,
    )
