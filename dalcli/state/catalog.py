"""The pool: which samples there are, where their bytes were seen, what each one serves and in which state it is."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from dalcli.state.database import Connection

Purpose = Literal["training", "evaluation"]
PURPOSES: tuple[Purpose, ...] = ("training", "evaluation")

STATES = ("unlabeled", "in flight", "labeled", "disputed", "skipped", "auto-labeled", "quarantined")

_SAMPLE_STATE = """
    CASE WHEN s.quarantine IS NOT NULL THEN 'quarantined'
         WHEN a.state IS NOT NULL THEN a.state
         WHEN s.id IN (SELECT sample FROM in_flight) THEN 'in flight'
         WHEN s.id IN (SELECT sample FROM auto_label) THEN 'auto-labeled'
         ELSE 'unlabeled' END
"""

_ELIGIBLE = """
    s.purpose = ? AND s.quarantine IS NULL
    AND NOT EXISTS (SELECT 1 FROM standing_vote AS v WHERE v.sample = s.id)
    AND s.id NOT IN (SELECT sample FROM in_flight)
    AND (s.id IN (SELECT sample FROM auto_label)) = ?
"""


class SeenFile(NamedTuple):
    """A place where a sample's bytes were seen, with the size and modification time they had then."""

    path: str
    size: int | None
    mtime_ns: int | None


class PoolImage(NamedTuple):
    """A sample and every place its bytes were seen, first seen first."""

    key: int
    sample_id: str
    files: tuple[SeenFile, ...]

    @property
    def path(self) -> str:
        return self.files[0].path if self.files else ""


@dataclass(frozen=True)
class UnreadableFile:
    """A file in quarantine and why; ``sample_id`` None: its bytes were never read; an empty path: they are gone."""

    path: str
    reason: str
    sample_id: str | None


@dataclass(frozen=True)
class PoolEntry:
    """One line of ``pool list``."""

    sample_id: str
    path: str
    purpose: str
    state: str
    label: str | None
    reason: str | None


def quarantine(connection: Connection, reasons: dict[int, str]) -> None:
    """Set samples (by key) aside as unreadable."""
    connection.executemany(
        "UPDATE sample SET quarantine = ? WHERE id = ?", [(reason, key) for key, reason in reasons.items()]
    )


def refresh_file(connection: Connection, path: str, size: int, mtime_ns: int) -> None:
    """Record that a touched file still holds the bytes it was registered with."""
    connection.execute("UPDATE file SET size = ?, mtime_ns = ? WHERE path = ?", (size, mtime_ns, path))


def images(connection: Connection, purpose: Purpose) -> list[PoolImage]:
    """Every readable sample of one purpose with its files, in the order of sample ids."""
    return _images(connection, "s.purpose = ? AND s.quarantine IS NULL", (purpose,))


def eligible(connection: Connection, purpose: Purpose, *, auto_labeled: bool = False) -> list[PoolImage]:
    """Readable samples nobody has answered and no open batch holds, in the order of the evaluation reserve.

    Without those that a model has labeled, or (``auto_labeled``) these alone.
    """
    return _images(
        connection,
        _ELIGIBLE,
        (purpose, auto_labeled),
        order="s.reserve_position, s.sample_id",
    )


def unanswered(connection: Connection, purpose: Purpose) -> list[PoolImage]:
    """Readable samples about which no person has said anything, in the order of sample ids."""
    return _images(
        connection,
        "s.purpose = ? AND s.quarantine IS NULL"
        " AND NOT EXISTS (SELECT 1 FROM standing_vote AS v WHERE v.sample = s.id)",
        (purpose,),
    )


def images_of(connection: Connection, samples: Sequence[int]) -> list[PoolImage]:
    """Readable samples among ``samples`` (keys), in the order of sample ids."""
    return _images(
        connection, "s.quarantine IS NULL AND s.id IN (SELECT value FROM json_each(?))", (json.dumps(list(samples)),)
    )


def sample_ids(connection: Connection, purpose: Purpose, state: Literal["labeled", "in flight"]) -> list[str]:
    """Readable samples of one purpose that have a label, or that an open batch holds, in the order of sample ids."""
    condition = {
        "labeled": "s.id IN (SELECT sample FROM answer WHERE state = 'labeled')",
        "in flight": "s.id IN (SELECT sample FROM in_flight)",
    }[state]
    rows = connection.execute(
        f"SELECT s.sample_id FROM sample AS s WHERE s.purpose = ? AND s.quarantine IS NULL AND {condition}"
        " ORDER BY s.sample_id",
        (purpose,),
    )
    return [row["sample_id"] for row in rows]


def still_eligible(
    connection: Connection, purpose: Purpose, images: Sequence[PoolImage], *, auto_labeled: bool = False
) -> bool:
    """Whether nobody has answered, issued, moved or forgotten any of ``images`` since :func:`eligible` listed them."""
    found = connection.execute(
        f"SELECT s.id, s.sample_id FROM sample AS s WHERE {_ELIGIBLE} AND s.id IN (SELECT value FROM json_each(?))",
        (purpose, auto_labeled, json.dumps([image.key for image in images])),
    )
    return {(row["id"], row["sample_id"]) for row in found} == {(image.key, image.sample_id) for image in images}


def _images(
    connection: Connection, where: str, values: tuple[object, ...], order: str = "s.sample_id"
) -> list[PoolImage]:
    rows = connection.execute(
        "SELECT s.id, s.sample_id, f.path, f.size, f.mtime_ns FROM sample AS s"
        f" LEFT JOIN file AS f ON f.sample = s.id WHERE {where} ORDER BY {order}, f.id",
        values,
    )
    found: list[PoolImage] = []
    before = None
    for key, sample_id, path, size, mtime_ns in rows:  # a million of them: nothing is done twice
        files: tuple[SeenFile, ...] = () if path is None else (SeenFile(path, size, mtime_ns),)
        if key == before:
            files = found.pop().files + files
        found.append(PoolImage(key, sample_id, files))
        before = key
    return found


def readable_ids(connection: Connection, purpose: Purpose) -> list[str]:
    """Ids of the readable samples of one purpose, in no particular order: lighter than :func:`images`."""
    rows = connection.execute("SELECT sample_id FROM sample WHERE purpose = ? AND quarantine IS NULL", (purpose,))
    return [row["sample_id"] for row in rows]


def keys_by_id(connection: Connection) -> dict[str, int]:
    """The key of every sample, readable or not, by its id."""
    return {row["sample_id"]: row["id"] for row in connection.execute("SELECT id, sample_id FROM sample")}


def sizes(connection: Connection) -> list[tuple[int, int]]:
    """(height, width) of every readable sample whose size is known."""
    rows = connection.execute("SELECT height, width FROM sample WHERE quarantine IS NULL AND width IS NOT NULL")
    return [(row["height"], row["width"]) for row in rows]


def count_states(connection: Connection) -> dict[str, Counter[str]]:
    """How many samples are in each of :data:`STATES`, by purpose."""
    counts = {purpose: Counter(dict.fromkeys(STATES, 0)) for purpose in ("training", "evaluation")}
    rows = connection.execute(
        f"SELECT s.purpose, {_SAMPLE_STATE} AS state, count(*) AS n"
        " FROM sample AS s LEFT JOIN answer AS a ON a.sample = s.id GROUP BY 1, 2"
    )
    for row in rows:
        counts[row["purpose"]][row["state"]] = row["n"]
    return counts


def unreadable_files(connection: Connection) -> list[UnreadableFile]:
    """Every file whose image cannot be used, and every unusable sample that no file holds any more."""
    rows = connection.execute(
        "SELECT f.path, s.sample_id, coalesce(f.problem, s.quarantine) AS reason"
        " FROM file AS f LEFT JOIN sample AS s ON s.id = f.sample"
        " WHERE f.problem IS NOT NULL OR s.quarantine IS NOT NULL"
        " UNION ALL SELECT '', s.sample_id, s.quarantine FROM sample AS s"
        " WHERE s.quarantine IS NOT NULL AND NOT EXISTS (SELECT 1 FROM file AS f WHERE f.sample = s.id)"
        " ORDER BY 1, 2"
    )
    return [UnreadableFile(row["path"], row["reason"], row["sample_id"]) for row in rows]


def entries(connection: Connection) -> Iterator[PoolEntry]:
    """Every sample with its state, in the order of sample ids."""
    rows = connection.execute(
        f"SELECT s.sample_id, s.purpose, s.quarantine, {_SAMPLE_STATE} AS state, c.name AS label,"
        " (SELECT f.path FROM file AS f WHERE f.sample = s.id ORDER BY f.id LIMIT 1) AS path"
        " FROM sample AS s LEFT JOIN answer AS a ON a.sample = s.id LEFT JOIN class_now AS c ON c.position = a.class"
        " ORDER BY s.sample_id"
    )
    for r in rows:
        yield PoolEntry(r["sample_id"], r["path"] or "", r["purpose"], r["state"], r["label"], r["quarantine"])
