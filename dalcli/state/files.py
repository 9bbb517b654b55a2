"""Files and the samples in them: what happens when bytes appear, move, change or can no longer be read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from dalcli.state.catalog import Purpose
from dalcli.state.database import Connection, now


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
    replaced: int = 0
    moved_to_evaluation: int = 0
    already_trained: int = 0
    sample_keys: dict[str, int] = field(default_factory=dict)
    test_paths: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class KnownFile:
    """A file that was readable when it was last looked at, and what its sample serves."""

    sample: int
    purpose: str
    size: int | None
    mtime_ns: int | None


def register(connection: Connection, records: Iterable[FileRecord], reserve: float, result: Registration) -> None:
    """Add files and their samples; what is known already is left as it is. Counts go into ``result``."""
    for record in records:
        result.files += 1
        result.quarantined += record.problem is not None
        if record.sample_id is None:
            _without_bytes(connection, record)
            continue
        before = connection.execute("SELECT sample FROM file WHERE path = ?", (record.path,)).fetchone()
        if record.purpose == "evaluation":
            result.test_paths.add(record.path)
        key = _register_sample(connection, record, record.sample_id, reserve, result)
        result.sample_keys[record.path] = key
        connection.execute(
            "INSERT INTO file (path, sample, size, mtime_ns, problem, added_at) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (path) DO UPDATE SET sample = excluded.sample, size = excluded.size,"
            " mtime_ns = excluded.mtime_ns, problem = excluded.problem",
            (record.path, key, record.size, record.mtime_ns, record.problem, now()),
        )
        if before is not None and before["sample"] not in {None, key}:
            _lost_its_file(connection, before["sample"], record.path, result)


def _without_bytes(connection: Connection, record: FileRecord) -> None:
    """A file that cannot be read now. What it held before is still what it is believed to hold."""
    connection.execute(
        "INSERT INTO file (path, problem, added_at) VALUES (?, ?, ?)"
        " ON CONFLICT (path) DO UPDATE SET problem = excluded.problem",
        (record.path, record.problem, now()),
    )
    connection.execute(
        "UPDATE sample SET quarantine = ? WHERE quarantine IS NULL"
        " AND id = (SELECT sample FROM file WHERE path = ?)"
        " AND NOT EXISTS (SELECT 1 FROM file AS f WHERE f.sample = sample.id AND f.problem IS NULL)",
        (record.problem, record.path),
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
        # Under the same name only if this very registration lists it in both: not when a test image is read again.
        result.moved_to_evaluation += same_file is None or record.path in result.test_paths
        result.test_paths.discard(record.path)
    return key


def _serve_evaluation(connection: Connection, key: int, result: Registration) -> None:
    """An image in the pool and in the test set serves evaluation, unless a model was already trained on it."""
    if connection.execute("SELECT 1 FROM model_label WHERE sample = ? LIMIT 1", (key,)).fetchone():
        result.already_trained += 1
        return
    connection.execute("UPDATE sample SET purpose = 'evaluation' WHERE id = ?", (key,))
    result.moved_to_evaluation += 1


def _lost_its_file(connection: Connection, key: int, path: str, result: Registration) -> None:
    """The file at ``path`` holds other bytes now. A sample known nowhere else is set aside, or forgotten if unused."""
    others = connection.execute("SELECT problem FROM file WHERE sample = ?", (key,)).fetchall()
    if any(other["problem"] is None for other in others):
        return
    used = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM vote WHERE sample = :key) OR EXISTS (SELECT 1 FROM batch_row WHERE sample = :key)"
        " OR EXISTS (SELECT 1 FROM model_label WHERE sample = :key)"
        " OR EXISTS (SELECT 1 FROM auto_vote WHERE sample = :key)",
        {"key": key},
    ).fetchone()[0]
    if not used and not others:
        connection.execute("DELETE FROM sample WHERE id = ?", (key,))
        return
    reason = others[0]["problem"] if others else f"{path} holds other bytes now"
    connection.execute("UPDATE sample SET quarantine = ? WHERE id = ?", (reason, key))
    result.replaced += used


def known_files(connection: Connection) -> dict[str, KnownFile]:
    """Every file that was read successfully, by stored path."""
    rows = connection.execute(
        "SELECT f.path, f.size, f.mtime_ns, s.id, s.purpose FROM file AS f JOIN sample AS s ON s.id = f.sample"
        " WHERE f.problem IS NULL AND s.quarantine IS NULL"
    )
    return {row["path"]: KnownFile(row["id"], row["purpose"], row["size"], row["mtime_ns"]) for row in rows}


def sample_keys(connection: Connection) -> dict[str, int]:
    """The key of the sample whose bytes each file held when it could last be read, by stored path."""
    rows = connection.execute("SELECT path, sample FROM file WHERE sample IS NOT NULL")
    return {row["path"]: row["sample"] for row in rows}


def below(connection: Connection, prefix: str) -> list[tuple[str, str | None]]:
    """(stored path, sample id) of every file at or below ``prefix``; ``.`` is the workspace itself."""
    rows = connection.execute(
        "SELECT f.path, s.sample_id FROM file AS f LEFT JOIN sample AS s ON s.id = f.sample ORDER BY f.path"
    )
    return [(row["path"], row["sample_id"]) for row in rows if PurePosixPath(row["path"]).is_relative_to(prefix)]


def rename(connection: Connection, renames: Sequence[tuple[str, str]]) -> None:
    """Files moved, with the bytes they had: (old stored path, new stored path). Missing samples are found again."""
    # First aside, then into place: a file may move to where another one of the list was.
    connection.executemany("UPDATE file SET path = ? WHERE path = ?", [(_aside(new), old) for old, new in renames])
    for _, new in renames:
        stale = connection.execute("DELETE FROM file WHERE path = ? RETURNING sample", (new,)).fetchone()
        connection.execute("UPDATE file SET path = ? WHERE path = ?", (new, _aside(new)))
        if stale is not None and stale["sample"] is not None:
            _lost_its_file(connection, stale["sample"], new, Registration())
    for _, new in renames:  # an image that was sound once and has the same bytes is sound again
        connection.execute(
            "UPDATE file SET problem = NULL"
            " WHERE path = ? AND sample IN (SELECT id FROM sample WHERE width IS NOT NULL)",
            (new,),
        )
        connection.execute(
            "UPDATE sample SET quarantine = NULL"
            " WHERE width IS NOT NULL AND id = (SELECT sample FROM file WHERE path = ?)",
            (new,),
        )


def _aside(path: str) -> str:
    return f"//moving//{path}"  # no stored path looks like this: they are normalised
