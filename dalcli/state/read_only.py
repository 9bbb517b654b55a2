"""A workspace that somebody may read and not write: a colleague's, or one on a disk mounted read-only.

SQLite's log needs a file beside the database that readers write, too. Where there is none, nobody is writing, and the
database file is all there is; what is read counts only if it was left alone meanwhile.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dalcli.errors import DalcliError, LockedError


def may_write(path: Path) -> bool:
    """Whether permissions and file system let this user write the file.

    The system is asked: opening the file and closing it again would drop the locks of other connections to it.
    """
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def connect(path: Path) -> sqlite3.Connection:
    """A connection that cannot write.

    Raises:
        sqlite3.OperationalError: it may not even be read.
        DalcliError: a process was killed there, and what it left can only be read by who may write.
    """
    # Without its log a database is read as it lies there: to look for a log, SQLite would have to make one.
    at_rest = "" if _log(path).exists() else "&immutable=1"
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro{at_rest}", uri=True, isolation_level=None)
    try:
        connection.execute("PRAGMA schema_version")
    except sqlite3.OperationalError as error:
        connection.close()
        if at_rest or not os.access(path, os.R_OK):
            raise
        raise DalcliError(
            f"{path}: {error}: its log must be put in order first, by somebody who may write",
            "ask who owns the workspace to run: dalcli status",
        ) from error
    return connection


@contextmanager
def left_alone(path: Path) -> Iterator[None]:
    """What is read inside belongs to one moment.

    Raises:
        LockedError: somebody began to write, so that it may not; whatever else went wrong may be because of that.
    """
    before = _traces(path)
    try:
        yield
    finally:
        if _traces(path) != before:
            raise LockedError(f"{path}: somebody began to write while it was read", "try again")


def refusal(path: Path) -> DalcliError:
    """Why a command that changes something cannot."""
    return DalcliError(
        f"{path}: you may read what is here and not change it; nothing was changed",
        f"work as who owns it, or ask them for permission to write {path.parent} and what is in it",
    )


def _log(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _traces(path: Path) -> tuple[bool, int, int, int]:
    facts = path.stat()
    return _log(path).exists(), facts.st_ino, facts.st_size, facts.st_mtime_ns
