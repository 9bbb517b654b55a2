"""Batches: what was handed out, what came back, what was released.

A batch is open while any of its rows is neither answered nor released. That is derived from the ledger, so no
crash between "labels recorded" and "batch closed" can happen.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from dalcli.state.catalog import Purpose
from dalcli.state.database import INTERNAL, Connection, Row, now

Origin = Literal["cold start", "active", "control"]


@dataclass(frozen=True)
class BatchRow:
    """One issued sample."""

    rank: int
    sample: int
    score: float | None
    pseudo_label: int | None
    confidence: float | None
    strategy: str
    arm: str


@dataclass(frozen=True)
class BatchOptions:
    """What a batch was asked with, to tell whether a query asks for the same again: JSON objects, compared, never read.

    ``typed`` are the options of the command line, ``effective`` what they amounted to with the configuration of then.
    ``classes``, how many there were when it was issued, is not compared: it is for printing the batch again.
    """

    typed: Mapping[str, object]
    effective: Mapping[str, object]
    classes: int | None = None

    @classmethod
    def parse(cls, text: str) -> BatchOptions:
        """What :meth:`text` wrote."""
        found = json.loads(text)
        return cls(found["typed"], found["effective"], found.get("classes"))

    def text(self) -> str:
        """All of it as one JSON object."""
        classes = {} if self.classes is None else {"classes": self.classes}
        return _canonical({"typed": self.typed, "effective": self.effective, **classes})

    def same_options(self, other: BatchOptions) -> bool:
        """Equal as typed (whatever the configuration says now), or equal in effect."""
        as_typed = _canonical(self.typed) == _canonical(other.typed)
        return as_typed or _canonical(self.effective) == _canonical(other.effective)


@dataclass(frozen=True)
class Batch:
    """A batch and how far it has come back: ``issued`` = ``answered`` + ``released`` + ``outstanding``."""

    key: int = field(metadata=INTERNAL)
    options: BatchOptions = field(metadata=INTERNAL)
    batch_id: str
    purpose: str
    requested: int
    issued: int
    answered: int
    released: int
    outstanding: int
    open: bool
    issued_at: str
    model: str | None
    relabel: bool = False

    def reaches(self, fraction: float) -> bool:
        """Whether at least ``fraction`` of its rows are answered (0.55 of 20 is 11, whatever floats say)."""
        return self.answered >= fraction * self.issued - 1e-9


@dataclass(frozen=True)
class IssuedRow:
    """What became of one issued sample; ``state`` is answered, released or out."""

    rank: int
    sample_id: str
    path: str
    state: str


@dataclass(frozen=True)
class OutRow:
    """An issued sample (key) that is still out, as its query described it."""

    rank: int
    sample: int
    pseudo_label: int | None
    confidence: float | None
    strategy: str
    arm: str


_SUMMARY = """
    SELECT b.id, b.batch_id, b.purpose, b.options, b.requested, b.issued_at, b.relabel, m.version AS model,
           count(p.rank) AS issued, coalesce(sum(p.answered), 0) AS answered,
           coalesce(sum(p.released_at IS NOT NULL AND NOT p.answered), 0) AS released
    FROM batch AS b
    LEFT JOIN batch_progress AS p ON p.batch = b.id
    LEFT JOIN model_version AS m ON m.id = b.model
"""


def next_id(connection: Connection) -> str:
    """The id the next batch will have."""
    return f"b-{connection.execute('SELECT coalesce(max(id), 0) + 1 FROM batch').fetchone()[0]:04d}"


def issue(
    connection: Connection,
    batch_id: str,
    rows: Sequence[BatchRow],
    csv: bytes,
    *,
    options: BatchOptions,
    purpose: Purpose,
    requested: int,
    model: int | None,
    key: str | None,
    relabel: bool = False,
) -> None:
    """Commit a batch together with the bytes that will be printed for it; ``relabel``: its samples have labels."""
    cursor = connection.execute(
        "INSERT INTO batch (batch_id, key, options, purpose, requested, model, after_vote, csv, issued_at,"
        " relabel) VALUES (?, ?, ?, ?, ?, ?, (SELECT coalesce(max(id), 0) FROM vote), ?, ?, ?)",
        (batch_id, key, options.text(), purpose, requested, model, csv, now(), relabel),
    )
    batch = cursor.lastrowid
    connection.executemany(
        "INSERT INTO batch_row (batch, rank, sample, score, pseudo_label, confidence, strategy, arm)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [(batch, r.rank, r.sample, r.score, r.pseudo_label, r.confidence, r.strategy, r.arm) for r in rows],
    )


def any_control(connection: Connection) -> bool:
    """Whether any batch has a control arm."""
    return connection.execute("SELECT 1 FROM batch_row WHERE arm = 'control' LIMIT 1").fetchone() is not None


def listing(connection: Connection) -> list[Batch]:
    """All batches, oldest first."""
    return [_batch(row) for row in connection.execute(f"{_SUMMARY} GROUP BY b.id ORDER BY b.id")]


def get(connection: Connection, batch_id: str) -> Batch | None:
    """The batch with this id."""
    row = connection.execute(f"{_SUMMARY} WHERE b.batch_id = ? GROUP BY b.id", (batch_id,)).fetchone()
    return None if row is None else _batch(row)


def with_key(connection: Connection, key: str) -> Batch | None:
    """The batch that ``query --new --key`` issued under this key."""
    row = connection.execute(f"{_SUMMARY} WHERE b.key = ? GROUP BY b.id", (key,)).fetchone()
    return None if row is None else _batch(row)


def open_batches(connection: Connection) -> list[Batch]:
    """Batches with rows still out, oldest first."""
    return [batch for batch in listing(connection) if batch.open]


def csv_bytes(connection: Connection, batch: Batch) -> bytes:
    """Exactly the bytes the batch's query printed."""
    return bytes(connection.execute("SELECT csv FROM batch WHERE id = ?", (batch.key,)).fetchone()["csv"])


def rows(connection: Connection, batch: Batch) -> list[IssuedRow]:
    """Every row of a batch, by rank."""
    found = connection.execute(
        "SELECT p.rank, s.sample_id,"
        " CASE WHEN p.answered THEN 'answered' WHEN p.released_at IS NOT NULL THEN 'released' ELSE 'out' END AS state,"
        " coalesce((SELECT f.path FROM file AS f WHERE f.sample = s.id ORDER BY f.id LIMIT 1), '') AS path"
        " FROM batch_progress AS p JOIN sample AS s ON s.id = p.sample WHERE p.batch = ? ORDER BY p.rank",
        (batch.key,),
    )
    return [IssuedRow(row["rank"], row["sample_id"], row["path"], row["state"]) for row in found]


def out(connection: Connection, batch: Batch, limit: int) -> list[OutRow]:
    """The first ``limit`` rows of a batch that are still out, by rank."""
    found = connection.execute(
        "SELECT r.rank, r.sample, r.pseudo_label, r.confidence, r.strategy, r.arm FROM batch_row AS r"
        " JOIN batch_progress AS p ON p.batch = r.batch AND p.rank = r.rank"
        " WHERE r.batch = ? AND p.released_at IS NULL AND NOT p.answered ORDER BY r.rank LIMIT ?",
        (batch.key, limit),
    )
    return [OutRow(*row) for row in found]


def strategies(connection: Connection, batch: Batch) -> list[str]:
    """The strategies that chose a batch's rows, sorted."""
    rows = connection.execute("SELECT DISTINCT strategy FROM batch_row WHERE batch = ? ORDER BY strategy", (batch.key,))
    return [row["strategy"] for row in rows]


def origins(connection: Connection) -> dict[int, Origin]:
    """How every sample that was issued for training came to be chosen, by its key: what its last batch says (batches
    that ask for another look aside).

    Samples that were never issued (labels that came with the images, say) are not listed. What was drawn at random as a
    whole batch is "control" like a control arm, unless there was no model yet: a cold start is nobody's choice.
    """
    rows = connection.execute(
        "SELECT r.sample, CASE WHEN r.arm = 'control' THEN 'control' WHEN b.model IS NULL THEN 'cold start'"
        " WHEN r.strategy = 'random' THEN 'control' ELSE 'active' END AS origin"
        " FROM batch_row AS r JOIN batch AS b ON b.id = r.batch WHERE b.purpose = 'training' AND NOT b.relabel"
        " ORDER BY b.id"
    )
    return {row["sample"]: row["origin"] for row in rows}


def holding(connection: Connection, samples: Iterable[int]) -> list[Batch]:
    """Every batch in which one of ``samples`` was issued, oldest first."""
    found = connection.execute(
        f"{_SUMMARY} WHERE b.id IN (SELECT r.batch FROM batch_row AS r JOIN json_each(?) AS j ON j.value = r.sample)"
        " GROUP BY b.id ORDER BY b.id",
        (json.dumps(list(samples)),),
    )
    return [_batch(row) for row in found]


def out_for_relabeling(connection: Connection) -> dict[int, str]:
    """Sample key → the id of the batch in which it is out for another look."""
    found = connection.execute(
        "SELECT f.sample, b.batch_id FROM in_flight AS f JOIN batch AS b ON b.id = f.batch WHERE b.relabel"
    )
    return {row["sample"]: row["batch_id"] for row in found}


def release(connection: Connection, batch: Batch) -> int:
    """Give every row still out back to the pool; returns how many."""
    cursor = connection.execute(
        "UPDATE batch_row SET released_at = ? WHERE batch = ?"
        " AND sample IN (SELECT sample FROM in_flight WHERE batch = ?)",
        (now(), batch.key, batch.key),
    )
    return cursor.rowcount


def _batch(row: Row) -> Batch:
    outstanding = row["issued"] - row["answered"] - row["released"]
    return Batch(
        key=row["id"],
        options=BatchOptions.parse(row["options"]),
        batch_id=row["batch_id"],
        purpose=row["purpose"],
        requested=row["requested"],
        issued=row["issued"],
        answered=row["answered"],
        released=row["released"],
        outstanding=outstanding,
        open=outstanding > 0,
        issued_at=row["issued_at"],
        model=row["model"],
        relabel=bool(row["relabel"]),
    )


def _canonical(value: Mapping[str, object]) -> str:
    """The same text for equal JSON objects, lists or tuples in them."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
