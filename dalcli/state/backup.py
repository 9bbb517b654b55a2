"""A copy of the database while others use it, and whether a copy is sound."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from dalcli.errors import DalcliError
from dalcli.state.database import Database, explained


def copy_database(database: Database, target: Path) -> None:
    """Write the database of this moment to ``target``, one file that needs no other, and check it.

    SQLite's online backup: readers and writers go on meanwhile.

    Raises:
        DalcliError: the copy is not sound, or could not be written; ``target`` may be there.
    """
    with explained(target), closing(sqlite3.connect(target)) as copy:
        database.copy_to(copy)
        copy.execute("PRAGMA journal_mode = DELETE")
    problem = problem_of(target)
    if problem is not None:
        raise DalcliError(
            f"{database.path}: a copy of it is damaged: {problem}",
            "check the disk; the newest sound backup is in the backup folder",
        )


def problem_of(path: Path) -> str | None:
    """What ``PRAGMA integrity_check`` finds in a database that nobody uses; None: it is sound."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(3)")]
    except sqlite3.Error as error:
        return str(error)
    return None if found == ["ok"] else "; ".join(found)
