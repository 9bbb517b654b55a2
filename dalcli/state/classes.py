"""The ordered class list: the database owns it, and it only grows."""

from __future__ import annotations

from collections.abc import Sequence

from dalcli.state.database import Connection, now


def names(connection: Connection) -> tuple[str, ...]:
    """Class names in the order of the model's outputs."""
    rows = connection.execute("SELECT name FROM class ORDER BY position")
    return tuple(row["name"] for row in rows)


def append(connection: Connection, new: Sequence[str]) -> None:
    """Add ``new`` names behind the known ones; names already known are left alone."""
    known = names(connection)
    fresh = [name for name in dict.fromkeys(new) if name not in known]
    connection.executemany(
        "INSERT INTO class (position, name, added_at) VALUES (?, ?, ?)",
        [(len(known) + offset, name, now()) for offset, name in enumerate(fresh)],
    )
