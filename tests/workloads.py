"""What a command line costs, counted instead of timed: the same on a busy machine and on an idle one.

What is one step here, a search through a list or an operation on arrays, is not seen to grow.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any
from unittest import mock

import dalcli

OURS = dalcli.__path__[0]
STEPS_AT_ONCE = 10


@dataclass
class Work:
    """``python``: lines of dalcli that ran, and calls of anything else written in Python. ``sql``: instructions of
    SQLite's machine, which a row, a comparison or a look-up takes a few of."""

    python: int = 0
    sql: int = 0


@contextmanager
def counting() -> Iterator[Work]:
    """Counts what this thread does inside the block."""
    work = Work()
    connect = sqlite3.connect

    def connected(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **kwargs)
        connection.set_progress_handler(stepped, STEPS_AT_ONCE)
        return connection

    def stepped() -> None:
        work.sql += STEPS_AT_ONCE

    def entered(frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code is stepped.__code__:
            return None
        work.python += 1
        return ran if frame.f_code.co_filename.startswith(OURS) else None

    def ran(frame: FrameType, event: str, argument: Any) -> Any:
        work.python += event == "line"
        return ran

    before = sys.gettrace()
    with mock.patch.object(sqlite3, "connect", connected):
        sys.settrace(entered)
        try:
            yield work
        finally:
            sys.settrace(before)
