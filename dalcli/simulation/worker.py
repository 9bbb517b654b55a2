"""The process that computes bases and cells: a line in is a task, lines out are what became of it (see ``tasks``).

Its standard input closes when ``dalcli simulate`` ends, in whatever way; then it ends, too, in the middle of anything:
all that it does can be gone on with.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from dalcli.errors import BadInputError, DalcliError
from dalcli.feedback import SilentFeedback
from dalcli.runtime.heap import share_heap
from dalcli.simulation.labeler import Labeler
from dalcli.simulation.tasks import (
    BaseTask,
    RoundDone,
    TaskDone,
    TaskFailed,
    WorkerEvent,
    WorkerTask,
    line_of,
    task_of,
)
from dalcli.state.database import now


class LogFeedback(SilentFeedback):
    """Sends notes and warnings to standard error, which is the log of the base or cell."""

    def note(self, message: str) -> None:
        print(f"{now()} {message}", file=sys.stderr, flush=True)  # noqa: T201

    def warn(self, message: str) -> None:
        self.note(f"warning: {message}")


def main() -> None:
    """Carry out tasks until there are no more."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints is no event
    share_heap()  # before any thread has a heap of its own
    for task in _tasks():
        with _logging_to(task.log):
            try:
                for event in _carry_out(task):
                    _say(channel, event)
            except (DalcliError, OSError) as error:
                traceback.print_exc()
                _say(channel, TaskFailed(_text(error)))
            else:
                _say(channel, TaskDone())
    os._exit(0)  # not waiting for the thread that reads


def _tasks() -> Iterator[WorkerTask]:
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield task_of(lines.get())


def _carry_out(task: WorkerTask) -> Iterator[RoundDone]:
    labeler = Labeler.read(task.draw, task.classes)

    from dalcli.simulation.rounds import finish_cell, play_base, play_cell  # all of torch: seconds

    if isinstance(task, BaseTask):
        start = play_base(task, labeler, LogFeedback())
        yield RoundDone(start.labels, start.accuracy)
        return
    for record in play_cell(task, labeler, LogFeedback()):
        yield RoundDone(record.labels, record.accuracy)
    finish_cell(task)


def _text(error: Exception) -> str:
    if isinstance(error, BadInputError) and error.problems:
        return f"{error.message}: {error.problems[0]}"
    if isinstance(error, DalcliError):
        return f"{error.message} ({error.remedy})" if error.remedy else error.message
    return str(error)


def _say(channel: TextIO, event: WorkerEvent) -> None:
    try:
        channel.write(line_of(event))
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
