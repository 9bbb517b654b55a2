"""The ledger as people read it: who said what about which sample, and when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from dalcli.state.catalog import Purpose
from dalcli.state.database import INTERNAL, Connection, Row


@dataclass(frozen=True)
class LoggedVote:
    """One vote; ``label`` None: skipped. A class has the name that it has today.

    Attributes:
        before: what the same annotator had said of the sample before: a label, 'skipped', or None for nothing.
        counts: whether it is the annotator's latest and was not taken back: that one alone has a say.
        counted_label: the class that ``label`` counts as, where that class was merged; else the same.
    """

    sample: int = field(metadata=INTERNAL)
    sample_id: str
    path: str
    purpose: str
    label: str | None
    counted_label: str | None
    before: str | None
    annotator: str
    labeled_at: str | None
    seconds: float | None
    cost: float | None
    file: str
    line: int
    recorded_at: str
    counts: bool


@dataclass(frozen=True)
class Standing:
    """What is known of a sample: ``confidence`` and ``leading`` where several annotators have labeled it."""

    sample: int = field(metadata=INTERNAL)
    sample_id: str
    path: str
    purpose: str
    state: str
    label: str | None
    leading: str | None
    confidence: float | None


_PATH = "coalesce((SELECT f.path FROM file AS f WHERE f.sample = s.id ORDER BY f.id LIMIT 1), '')"

_VOTES = f"""
    WITH said AS (
        SELECT v.*, lag(v.id) OVER one AS earlier, lag(v.class) OVER one AS class_before,
               EXISTS (SELECT 1 FROM latest_vote AS l WHERE l.id = v.id) AS counts
        FROM vote AS v WINDOW one AS (PARTITION BY v.sample, v.annotator ORDER BY v.id)
    )
    SELECT v.*, s.sample_id, s.purpose, {_PATH} AS path, n.name AS label, m.name AS counted_label,
           CASE WHEN v.earlier IS NOT NULL THEN coalesce(b.name, 'skipped') END AS before
    FROM said AS v JOIN sample AS s ON s.id = v.sample
    LEFT JOIN class_now AS n ON n.position = v.class
    LEFT JOIN class_now AS m ON m.position = n.counts_as
    LEFT JOIN class_now AS b ON b.position = v.class_before
"""

_STANDINGS = f"""
    SELECT s.id AS sample, s.sample_id, s.purpose, {_PATH} AS path, c.name AS label, l.name AS leading,
           k.confidence, s.quarantine, a.state AS answer, s.id IN (SELECT sample FROM in_flight) AS is_out
    FROM sample AS s
    LEFT JOIN answer AS a ON a.sample = s.id
    LEFT JOIN consensus AS k ON k.sample = s.id
    LEFT JOIN class_now AS c ON c.position = a.class
    LEFT JOIN class_now AS l ON l.position = k.leading
"""


def votes(connection: Connection, sample: int | None = None, annotator: str | None = None) -> Iterator[LoggedVote]:
    """Votes in the order in which they were recorded: all, or those on one sample or by one annotator."""
    conditions = {"v.sample = ?": sample, "v.annotator = ?": annotator}
    chosen = {condition: value for condition, value in conditions.items() if value is not None}
    where = f"WHERE {' AND '.join(chosen)}" if chosen else ""
    for row in connection.execute(f"{_VOTES} {where} ORDER BY v.id", tuple(chosen.values())):
        yield _vote(row)


def latest_votes(connection: Connection, purpose: Purpose | None = None) -> list[LoggedVote]:
    """What every annotator says now, by sample id and annotator."""
    where, values = ("", ()) if purpose is None else ("AND s.purpose = ?", (purpose,))
    rows = connection.execute(f"{_VOTES} WHERE v.counts {where} ORDER BY s.sample_id, v.annotator", values)
    return [_vote(row) for row in rows]


def standing(connection: Connection, sample: int) -> Standing:
    """One sample (by key)."""
    return _standing(connection.execute(f"{_STANDINGS} WHERE s.id = ?", (sample,)).fetchone())


def standings(connection: Connection, state: str, purpose: Purpose | None = None) -> list[Standing]:
    """Readable samples that are labeled or disputed, in the order of sample ids."""
    where, values = ("", (state,)) if purpose is None else ("AND s.purpose = ?", (state, purpose))
    rows = connection.execute(
        f"{_STANDINGS} WHERE a.state = ? AND s.quarantine IS NULL {where} ORDER BY s.sample_id", values
    )
    return [_standing(row) for row in rows]


def annotators(connection: Connection) -> list[str]:
    """Everybody who has a vote, by name."""
    return [row["annotator"] for row in connection.execute("SELECT DISTINCT annotator FROM vote ORDER BY annotator")]


def _vote(row: Row) -> LoggedVote:
    return LoggedVote(
        sample=row["sample"],
        sample_id=row["sample_id"],
        path=row["path"],
        purpose=row["purpose"],
        label=row["label"],
        counted_label=row["counted_label"],
        before=row["before"],
        annotator=row["annotator"],
        labeled_at=row["labeled_at"],
        seconds=row["seconds"],
        cost=row["cost"],
        file=row["file"],
        line=row["line"],
        recorded_at=row["recorded_at"],
        counts=bool(row["counts"]),
    )


def _standing(row: Row) -> Standing:
    state = "quarantined" if row["quarantine"] is not None else row["answer"]
    return Standing(
        sample=row["sample"],
        sample_id=row["sample_id"],
        path=row["path"],
        purpose=row["purpose"],
        state=state or ("in flight" if row["is_out"] else "unlabeled"),
        label=row["label"],
        leading=row["leading"],
        confidence=row["confidence"],
    )
