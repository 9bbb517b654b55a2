"""Options that several commands share, and what they resolve to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dalcli.cli.streams import aside
from dalcli.errors import UsageError

if TYPE_CHECKING:
    from dalcli.feedback import Feedback
    from dalcli.state.workspace import Workspace
    from dalcli.workspace.session import Session

_WORKSPACE_HELP = "The workspace; default: the nearest one at or above the current directory."
# Only the option before the command reads the variable: `-C` on either side of the command wins over it.
RootDirectory = Annotated[
    Path | None, typer.Option("-C", metavar="DIR", envvar="DALCLI_WORKSPACE", help=_WORKSPACE_HELP)
]
Directory = Annotated[Path | None, typer.Option("-C", metavar="DIR", help=_WORKSPACE_HELP)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes; warnings and errors only.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]
Wait = Annotated[float, typer.Option("--wait", metavar="SECONDS", min=0, help="Wait this long for a locked workspace.")]
StaleOk = Annotated[bool, typer.Option("--stale-ok", help="Go on although labels are newer than the model.")]


@dataclass
class _CommandLine:
    """What the options on either side of the command said; one process runs one command line."""

    directory: Path | None = None
    quiet: bool = False


_given = _CommandLine()


def remember(directory: Path | None, quiet: bool) -> None:
    """Keep the options given before the command name: ``dalcli -C DIR status``."""
    _given.directory, _given.quiet = directory, quiet


def directory_of(given: Path | None) -> Path | None:
    """The workspace folder named after the command, or else before it."""
    if given is not None:
        _given.directory = given
    return _given.directory


def feedback_of(quiet: bool) -> Feedback:
    """Where this command's notes and progress go."""
    from dalcli.cli.feedback import choose

    return choose(quiet or _given.quiet)


@contextmanager
def session_of(directory: Path | None, quiet: bool) -> Iterator[Session]:
    """The opened workspace of one command."""
    from dalcli.workspace.session import open_session

    with aside(), open_session(directory_of(directory), feedback_of(quiet)) as session:
        yield session


def current_workspace() -> Workspace | None:
    """The workspace this command line means, if there is one: where a traceback is kept."""
    from dalcli.errors import DalcliError
    from dalcli.state.workspace import find

    try:
        return find(_given.directory)
    except (DalcliError, OSError):
        return None


def class_list(text: str | None) -> list[str] | None:
    """``cat,dog,other``, or a file with one class per line.

    Raises:
        UsageError: an empty or repeated name.
        BadInputError: the file is not text.
    """
    from dalcli.config.class_names import problem_with_classes

    if text is None:
        return None
    if "," not in text and Path(text).is_file():
        from dalcli.data.text import TextInput

        names = [line.strip() for line in TextInput.from_path(Path(text)).lines() if line.strip()]
    else:
        names = [name.strip() for name in text.split(",")]
    problem = problem_with_classes(names)
    if problem is not None:
        raise UsageError(f"--classes: {problem}", "write --classes cat,dog,other, or name a file with one per line")
    return names
