"""The ordered class list: the database owns it, and it only grows.

A class is its position, for ever: the index of a model's output. Renaming gives it another name; merging makes it count
as another class from then on. Both are events (``class_event``), and nothing that was said before is changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dalcli.state.database import Connection, now


@dataclass(frozen=True)
class ClassEvent:
    """A rename or a merge: ``old_name`` is what the class was called until then, ``new_name`` what it is since."""

    kind: str
    old_name: str
    new_name: str
    recorded_at: str


def names(connection: Connection) -> tuple[str, ...]:
    """Class names of today in the order of the model's outputs, those of merged classes included."""
    return tuple(row["name"] for row in connection.execute("SELECT name FROM class_now ORDER BY position"))


def founding_names(connection: Connection) -> tuple[str, ...]:
    """What the classes were called when they came in: stays the same when one is renamed."""
    return tuple(row["name"] for row in connection.execute("SELECT name FROM class ORDER BY position"))


def counted_as(connection: Connection) -> tuple[int, ...]:
    """By position, the class that each counts as: itself, unless it was merged."""
    rows = connection.execute("SELECT counts_as FROM class_now ORDER BY position")
    return tuple(row["counts_as"] for row in rows)


def meanings(connection: Connection) -> tuple[str, ...]:
    """By position, the name of the class that each counts as: after a merge the same labels are another question."""
    today = names(connection)
    return tuple(today[position] for position in counted_as(connection))


def positions(connection: Connection) -> dict[str, int]:
    """Every name that means a class, and the class that it counts as today: earlier names and merged classes, too."""
    now_counted = counted_as(connection)
    known: dict[str, int] = {}
    for position, each in enumerate(spellings(connection)):
        for name in each:
            known.setdefault(name, now_counted[position])
    return known


def spellings(connection: Connection) -> tuple[tuple[str, ...], ...]:
    """By position, all names that the class has had, that of today first."""
    found = [[name] for name in names(connection)]
    for position, name in enumerate(founding_names(connection)):
        found[position].append(name)
    for row in connection.execute("SELECT class, new_name FROM class_event WHERE kind = 'rename' ORDER BY id"):
        found[row["class"]].append(row["new_name"])
    return tuple(tuple(dict.fromkeys(each)) for each in found)


def append(connection: Connection, new: Sequence[str]) -> None:
    """Add ``new`` names behind the known ones; names that mean a class already are left alone."""
    known = positions(connection)
    fresh = [name for name in dict.fromkeys(new) if name not in known]
    first = len(founding_names(connection))
    connection.executemany(
        "INSERT INTO class (position, name, added_at) VALUES (?, ?, ?)",
        [(first + offset, name, now()) for offset, name in enumerate(fresh)],
    )


def rename(connection: Connection, position: int, new_name: str) -> None:
    """From now on the class is called ``new_name``, which must not mean another class."""
    _record(connection, "rename", position, new_name, None)


def merge(connection: Connection, position: int, into: int) -> None:
    """From now on the class counts as ``into``; neither may be merged already. Then settle all disputes again."""
    _record(connection, "merge", position, names(connection)[into], into)


def _record(connection: Connection, kind: str, position: int, new_name: str, into: int | None) -> None:
    connection.execute(
        "INSERT INTO class_event (kind, class, old_name, new_name, into_class, recorded_at) VALUES (?, ?, ?, ?, ?, ?)",
        (kind, position, names(connection)[position], new_name, into, now()),
    )


def last_merge(connection: Connection) -> str | None:
    """When classes were last merged: since then right is something else."""
    row = connection.execute("SELECT max(recorded_at) AS at FROM class_event WHERE kind = 'merge'").fetchone()
    return None if row["at"] is None else str(row["at"])


def events(connection: Connection) -> list[ClassEvent]:
    """Every rename and merge, oldest first."""
    rows = connection.execute("SELECT kind, old_name, new_name, recorded_at FROM class_event ORDER BY id")
    return [ClassEvent(row["kind"], row["old_name"], row["new_name"], row["recorded_at"]) for row in rows]
