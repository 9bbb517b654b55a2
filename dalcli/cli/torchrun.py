"""Which commands may run in several processes, and which of those processes speaks."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from dalcli.errors import UsageError
from dalcli.feedback import Feedback
from dalcli.runtime.launch import launched

if TYPE_CHECKING:
    from dalcli.runtime.ranks import Ranks

TOGETHER = ("train", "score")


def speaks() -> bool:
    """Whether this process tells people and prints data: without torchrun every one, with it the first."""
    return launched()[0] == 0


def refuse_others(command: str | None) -> None:
    """Only :data:`TOGETHER` share their work; anything else would be done several times at once.

    Raises:
        UsageError: ``command`` was started by a torchrun of several processes.
    """
    size = launched()[1]
    if size == 1 or command in TOGETHER:
        return
    if not speaks():
        raise typer.Exit  # not as a failure: torchrun would end the process that is about to speak
    name = f"dalcli {command}" if command else "dalcli"
    raise UsageError(
        f"torchrun started {size} processes, and only {' and '.join(TOGETHER)} share their work",
        f"run it without torchrun: {name}",
    )


@contextmanager
def leading(command: Literal["train", "score"], directory: Path | None) -> Iterator[Ranks]:
    """The processes that share ``command``: rank 0 gets them to lead, the others serve them and never enter the block.

    Raises:
        typer.Exit: this process was one of the others, and all is done.
    """
    from dalcli.runtime.ranks import joined

    with joined() as ranks:
        if ranks.main:
            yield ranks
            return
        _serve(command, directory, ranks)
    raise typer.Exit


def _serve(command: Literal["train", "score"], directory: Path | None, ranks: Ranks) -> None:
    """What every process but rank 0 does: its share of what rank 0 says, until there is no more."""
    if command == "train":
        from dalcli.training.job import serve
    else:
        from dalcli.scoring.run import serve
    serve(directory, ranks)


def alone_of(feedback: Feedback) -> None:
    """Say that what follows is about one process, if there are several."""
    size = launched()[1]
    if size > 1:
        feedback.note(f"estimated for one of the {size} processes doing all the work")


def report(error: str) -> None:
    """Let torchrun, whose own report on a failure comes last and is long, repeat ``error`` in it."""
    file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if file and launched()[1] > 1:
        with suppress(OSError):
            extra = {"py_callstack": error, "timestamp": str(int(time.time()))}
            # Complete or not at all: torchrun, which may end this process meanwhile, fails on an empty file.
            beside = Path(f"{file}.tmp")
            beside.write_text(json.dumps({"message": {"message": error, "extraInfo": extra}}))
            beside.replace(file)
