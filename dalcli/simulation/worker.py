"""The process that computes cells: a line of JSON in is a task, lines of JSON out are what became of it.

Its standard input closes when ``dalcli simulate`` ends, in whatever way; then it ends, too, in the middle of anything:
all that it does can be gone on with.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from dalcli.errors import BadInputError, DalcliError
from dalcli.feedback import SilentFeedback
from dalcli.simulation import records
from dalcli.simulation.records import RoundRecord
from dalcli.state.database import now


class LogFeedback(SilentFeedback):
    """Notes and warnings go to standard error, which is the cell's log."""

    def note(self, message: str) -> None:
        print(f"{now()} {message}", file=sys.stderr, flush=True)  # noqa: T201

    def warn(self, message: str) -> None:
        self.note(f"warning: {message}")


def main() -> None:
    """Carry out tasks until there are no more."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints is no message
    for task in _tasks():
        with _logging_to(Path(task["log"])):
            try:
                _carry_out(task, channel)
            except (DalcliError, OSError) as error:
                traceback.print_exc()
                _say(channel, event="failed", message=_text(error))
            else:
                _say(channel, event="done")
    os._exit(0)  # not waiting for the thread that reads


def _tasks() -> Iterator[dict[str, Any]]:
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield json.loads(lines.get())


def _carry_out(task: dict[str, Any], channel: TextIO) -> None:
    root, draw = Path(task["root"]), Path(task["draw"])

    from dalcli.simulation.rounds import Labeler, play_base, play_cell

    labeler = Labeler.of(draw, tuple(task["classes"]))
    feedback = LogFeedback()

    def told(entry: RoundRecord) -> None:
        _say(channel, event="round", labels=entry.labels, accuracy=entry.accuracy)

    if task["kind"] == "base":
        told(play_base(root, draw, Path(task["cache"]), task["settings"], labeler, task["budget"], feedback))
        return
    record = play_cell(root, Path(task["base"]), task["query"], labeler, task["budget"], task["rounds"], feedback, told)
    Path(task["record"]).parent.mkdir(parents=True, exist_ok=True)
    records.write(Path(task["record"]), record, task["about"])
    if not task["keep"]:
        shutil.rmtree(root, ignore_errors=True)


def _text(error: Exception) -> str:
    if isinstance(error, BadInputError) and error.problems:
        return f"{error.message}: {error.problems[0]}"
    if isinstance(error, DalcliError):
        return f"{error.message} ({error.remedy})" if error.remedy else error.message
    return str(error)


def _say(channel: TextIO, **message: object) -> None:
    try:
        channel.write(json.dumps(message) + "\n")
        channel.flush()
    except OSError:  # nobody listens any more
        os._exit(0)


@contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """Standard error, also that of a crash, goes to ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
        before = os.dup(2)
        os.dup2(file.fileno(), 2)
    yield  # an error that nobody expected ends the process, and its traceback belongs into the log, too
    sys.stderr.flush()
    os.dup2(before, 2)
    os.close(before)


if __name__ == "__main__":
    main()
