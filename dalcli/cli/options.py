"""Options that several commands share, and what they resolve to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dalcli.errors import UsageError

if TYPE_CHECKING:
    from dalcli.commands.session import Session
    from dalcli.feedback import Feedback
    from dalcli.state.workspace import Workspace

Directory = Annotated[
    Path | None,
    typer.Option(
        "-C",
        metavar="DIR",
        envvar="DALCLI_WORKSPACE",
        help="The workspace; default: the nearest one at or above the current directory.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes; warnings and errors only.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]
Wait = Annotated[float, typer.Option("--wait", metavar="SECONDS", min=0, help="Wait this long for a locked workspace.")]
StaleOk = Annotated[bool, typer.Option("--stale-ok", help="Go on although labels are newer than the model.")]

# What the options before the command said; one process runs one command line.
_directory: Path | None = None
_quiet = False


def remember(directory: Path | None, quiet: bool) -> None:
    """Keep the options given before the command name: ``dalcli -C DIR status``."""
    global _directory, _quiet  # one process, one command line
    _directory, _quiet = directory, quiet


def directory_of(given: Path | None) -> Path | None:
    """The workspace folder named after the command, or else before it."""
    return given if given is not None else _directory


def feedback_of(quiet: bool) -> Feedback:
    """Where this command's notes and progress go."""
    from dalcli.cli.feedback import choose

    return choose(quiet or _quiet)


@contextmanager
def session_of(directory: Path | None, quiet: bool) -> Iterator[Session]:
    """The opened workspace of one command."""
    from dalcli.commands.session import open_session

    with open_session(directory_of(directory), feedback_of(quiet)) as session:
        yield session


def current_workspace() -> Workspace | None:
    """The workspace this command line means, if there is one: where a traceback is kept."""
    from dalcli.errors import DalcliError
    from dalcli.state.workspace import find

    try:
        return find(_directory)
    except (DalcliError, OSError):
        return None


def class_list(text: str | None) -> list[str] | None:
    """``cat,dog,other``, or a file with one class per line.

    Raises:
        UsageError: an empty or repeated name.
    """
    if text is None:
        return None
    if "," not in text and Path(text).is_file():
        names = [line.strip() for line in Path(text).read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    else:
        names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise UsageError(f"--classes {text!r} has an empty name", "write --classes cat,dog,other")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UsageError(f"--classes lists {', '.join(repeated)} more than once")
    return names
