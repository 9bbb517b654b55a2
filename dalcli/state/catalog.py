"""The pool: which samples there are, where their bytes were seen, and what each one serves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal

from dalcli.state.database import Connection, now

Purpose = Literal["training", "evaluation"]

STATES = ("unlabeled", "in flight", "labeled", "disputed", "skipped", "quarantined")

_SAMPLE_STATE = """
    CASE WHEN s.quarantine IS NOT NULL THEN 'quarantined'
         WHEN a.state IS NOT NULL THEN a.state
         WHEN s.id IN (SELECT sample FROM in_flight) THEN 'in flight'
         ELSE 'unlabeled' END
"""


@dataclass(frozen=True)
class FileRecord:
    """One file as a scan found it. ``purpose`` None leaves the choice to the evaluation reserve.

    ``sample_id`` is None when no bytes could be read; ``problem`` says why the image is unusable.
    """

    path: str
    sample_id: str | None
    size: int | None = None
    mtime_ns: int | None = None
    width: int | None = None
    height: int | None = None
    problem: str | None = None
    purpose: Purpose | None = None
    reserve_position: float = 0.0


@dataclass
class Registration:
    """What became of the files of one registration."""

    files: int = 0
    new_samples: int = 0
    duplicates: int = 0
    quarantined: int = 0
    moved_to_evaluation: int = 0
    already_trained: int = 0
    sample_keys: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class SeenFile:
    """A place where a sample's bytes were seen, with the size and modification time they had then."""

    path: str
    size: int | None
    mtime_ns: int | None


@dataclass(frozen=True)
class PoolImage:
    """A sample and every place its bytes were seen, first seen first."""

    key: int
    sample_id: str
    files: tuple[SeenFile, ...]

    @property
    def path(self) -> str:
        return self.files[0].path if self.files else ""


@dataclass(frozen=True)
class PoolEntry:
    """One line of ``pool list``."""

    sample_id: str
    path: str
    purpose: str
    state: str
    label: str | None
    reason: str | None


def register(connection: Connection, records: Sequence[FileRecord], reserve: float, result: Registration) -> None:
    """Add files and their samples; everything already known is left as it is. Counts go into ``result``."""
    for record in records:
        result.files += 1
        key = None
        if record.sample_id is not None:
            key = _register_sample(connection, record, record.sample_id, reserve, result)
            result.sample_keys[record.path] = key
        if record.problem is not None:
            result.quarantined += 1
        connection.execute(
            "INSERT INTO file (path, sample, size, mtime_ns, problem, added_at) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (path) DO UPDATE SET sample = excluded.sample, size = excluded.size,"
            " mtime_ns = excluded.mtime_ns, problem = excluded.problem",
            (record.path, key, record.size, record.mtime_ns, record.problem, now()),
        )


def _register_sample(
    connection: Connection, record: FileRecord, sample_id: str, reserve: float, result: Registration
) -> int:
    known = connection.execute(
        "SELECT id, purpose, quarantine FROM sample WHERE sample_id = ?", (sample_id,)
    ).fetchone()
    if known is None:
        purpose = record.purpose or ("evaluation" if record.reserve_position < reserve else "training")
        result.new_samples += 1
        cursor = connection.execute(
            "INSERT INTO sample (sample_id, purpose, reserve_position, width, height, quarantine, added_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (sample_id, purpose, record.reserve_position, record.width, record.height, record.problem, now()),
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid
    key = int(known["id"])
    same_file = connection.execute("SELECT 1 FROM file WHERE path = ? AND sample = ?", (record.path, key)).fetchone()
    result.duplicates += same_file is None
    if known["quarantine"] is not None and record.problem is None:
        connection.execute(
            "UPDATE sample SET quarantine = NULL, width = ?, height = ? WHERE id = ?",
            (record.width, record.height, key),
        )
    if record.purpose == "evaluation" and known["purpose"] == "training":
        _serve_evaluation(connection, key, result)
    elif record.purpose != "evaluation" and known["purpose"] == "evaluation" and record.reserve_position >= reserve:
        result.moved_to_evaluation += same_file is None
    return key


def _serve_evaluation(connection: Connection, key: int, result: Registration) -> None:
    """An image in the pool and in the test set serves evaluation, unless a model was already trained on it."""
    if connection.execute("SELECT 1 FROM model_label WHERE sample = ? LIMIT 1", (key,)).fetchone():
        result.already_trained += 1
        return
    connection.execute("UPDATE sample SET purpose = 'evaluation' WHERE id = ?", (key,))
    result.moved_to_evaluation += 1


def known_files(connection: Connection) -> dict[str, tuple[int | None, int | None]]:
    """Size and modification time of every file that was read successfully, by stored path."""
    rows = connection.execute(
        "SELECT f.path, f.size, f.mtime_ns FROM file AS f JOIN sample AS s ON s.id = f.sample"
        " WHERE f.problem IS NULL AND s.quarantine IS NULL"
    )
    return {row["path"]: (row["size"], row["mtime_ns"]) for row in rows}


def quarantine(connection: Connection, reasons: dict[int, str]) -> None:
    """Set samples (by key) aside as unreadable."""
    connection.executemany(
        "UPDATE sample SET quarantine = ? WHERE id = ?", [(reason, key) for key, reason in reasons.items()]
    )


def refresh_file(connection: Connection, path: str, size: int, mtime_ns: int) -> None:
    """Record that a touched file still holds the bytes it was registered with."""
    connection.execute("UPDATE file SET size = ?, mtime_ns = ? WHERE path = ?", (size, mtime_ns, path))


def rename_files(connection: Connection, renames: Sequence[tuple[str, str]]) -> None:
    """Files moved: (old stored path, new stored path). A row already at the new path is replaced."""
    connection.executemany("DELETE FROM file WHERE path = ?", [(new,) for _, new in renames])
    connection.executemany("UPDATE file SET path = ? WHERE path = ?", [(new, old) for old, new in renames])


def files_below(connection: Connection, prefix: str) -> list[tuple[str, str | None]]:
    """(stored path, sample id) of every file at or below ``prefix``."""
    rows = connection.execute(
        "SELECT f.path, s.sample_id FROM file AS f LEFT JOIN sample AS s ON s.id = f.sample ORDER BY f.path"
    )
    folder = prefix.rstrip("/") + "/"
    return [(r["path"], r["sample_id"]) for r in rows if r["path"] == prefix or r["path"].startswith(folder)]


def images(connection: Connection, purpose: Purpose) -> list[PoolImage]:
    """Every readable sample of one purpose with its files, in the order of sample ids."""
    return _images(connection, "s.purpose = ? AND s.quarantine IS NULL", (purpose,))


def eligible(connection: Connection, purpose: Purpose) -> list[PoolImage]:
    """Readable samples nobody has answered and no open batch holds, in the order of the evaluation reserve."""
    return _images(
        connection,
        "s.purpose = ? AND s.quarantine IS NULL"
        " AND NOT EXISTS (SELECT 1 FROM vote AS v WHERE v.sample = s.id)"
        " AND s.id NOT IN (SELECT sample FROM in_flight)",
        (purpose,),
        order="s.reserve_position, s.sample_id",
    )


def _images(
    connection: Connection, where: str, values: tuple[object, ...], order: str = "s.sample_id"
) -> list[PoolImage]:
    rows = connection.execute(
        "SELECT s.id, s.sample_id, f.path, f.size, f.mtime_ns FROM sample AS s"
        f" LEFT JOIN file AS f ON f.sample = s.id WHERE {where} ORDER BY {order}, f.id",
        values,
    )
    found = []
    for (key, sample_id), group in groupby(rows, key=lambda row: (row["id"], row["sample_id"])):
        files = tuple(SeenFile(r["path"], r["size"], r["mtime_ns"]) for r in group if r["path"] is not None)
        found.append(PoolImage(key, sample_id, files))
    return found


def sizes(connection: Connection) -> list[tuple[int, int]]:
    """(height, width) of every readable sample whose size is known."""
    rows = connection.execute("SELECT height, width FROM sample WHERE quarantine IS NULL AND width IS NOT NULL")
    return [(row["height"], row["width"]) for row in rows]


def count_states(connection: Connection) -> dict[str, Counter[str]]:
    """How many samples are in each state, by purpose."""
    counts: dict[str, Counter[str]] = {"training": Counter(), "evaluation": Counter()}
    rows = connection.execute(
        f"SELECT s.purpose, {_SAMPLE_STATE} AS state, count(*) AS n"
        " FROM sample AS s LEFT JOIN answer AS a ON a.sample = s.id GROUP BY 1, 2"
    )
    for row in rows:
        counts[row["purpose"]][row["state"]] = row["n"]
    return counts


def unreadable_files(connection: Connection) -> list[tuple[str, str]]:
    """(file, reason) of everything in quarantine, files without readable bytes included."""
    rows = connection.execute(
        "SELECT f.path AS path, coalesce(s.quarantine, f.problem) AS reason FROM file AS f"
        " LEFT JOIN sample AS s ON s.id = f.sample"
        " WHERE (s.id IS NULL AND f.problem IS NOT NULL) OR s.quarantine IS NOT NULL ORDER BY f.path"
    )
    return [(row["path"], row["reason"]) for row in rows]


def entries(connection: Connection) -> Iterator[PoolEntry]:
    """Every sample with its state, in the order of sample ids."""
    rows = connection.execute(
        f"SELECT s.sample_id, s.purpose, s.quarantine, {_SAMPLE_STATE} AS state, c.name AS label,"
        " (SELECT f.path FROM file AS f WHERE f.sample = s.id ORDER BY f.id LIMIT 1) AS path"
        " FROM sample AS s LEFT JOIN answer AS a ON a.sample = s.id LEFT JOIN class AS c ON c.position = a.class"
        " ORDER BY s.sample_id"
    )
    for r in rows:
        yield PoolEntry(r["sample_id"], r["path"] or "", r["purpose"], r["state"], r["label"], r["quarantine"])
