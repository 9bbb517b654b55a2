"""Databases with samples that need no images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dalcli.data.identity import sample_id
from dalcli.state import classes, files
from dalcli.state.catalog import Purpose
from dalcli.state.database import Database
from dalcli.state.files import FileRecord, Registration

NAMES = ("cat", "dog", "other")


def record(number: int, path: str | None = None, *, purpose: Purpose | None = "training") -> FileRecord:
    """A sound image whose bytes are ``number``."""
    return FileRecord(
        path or f"photos/{number}.png",
        sample_id(str(number).encode()),
        size=number,
        mtime_ns=1,
        width=4,
        height=4,
        purpose=purpose,
    )


@contextmanager
def pool(path: Path, count: int = 0) -> Iterator[Database]:
    """A database with three classes and ``count`` samples, whose keys are 1 to ``count``."""
    with Database(path / "state.db") as database:
        with database.write() as connection:
            classes.append(connection, NAMES)
            files.register(connection, [record(number) for number in range(1, count + 1)], 0.0, Registration())
        yield database
