"""What the votes in the ledger have cost, as far as it says."""

from __future__ import annotations

from dataclasses import dataclass

from dalcli.state.catalog import Purpose
from dalcli.state.database import Connection


@dataclass(frozen=True)
class VoteGroup:
    """Votes of one annotator for one class (None: skipped): the latest of each about each sample.

    Attributes:
        votes: how many.
        bought: those of them about images that a batch handed out, or with a cost in the ledger: labels that came with
            the images were not bought here.
        unpriced: how many of those bought have no cost in the ledger.
        cost: what the ledger says all votes of this group cost, those that were replaced since included.
        timed: how many of the votes say how long they took; ``seconds`` is their sum.
    """

    purpose: Purpose
    annotator: str
    label: str | None
    votes: int
    bought: int
    unpriced: int
    cost: float
    timed: int
    seconds: float


_ALWAYS = "9999"
"""Later than every time that is stored."""
_LATEST = (
    "NOT EXISTS (SELECT 1 FROM vote AS w WHERE w.sample = v.sample AND w.annotator = v.annotator AND w.id > v.id"
    " AND w.recorded_at <= :until)"
)
_PRICED = (
    "EXISTS (SELECT 1 FROM vote AS w WHERE w.sample = v.sample AND w.annotator = v.annotator AND w.cost IS NOT NULL"
    " AND w.recorded_at <= :until)"
)
# A batch asked for the votes that came after it was issued; of several, the last one.
_ASKED_BY = (
    "(SELECT b.batch_id FROM batch_row AS r JOIN batch AS b ON b.id = r.batch"
    " WHERE r.sample = v.sample AND b.after_vote < v.id ORDER BY b.id DESC LIMIT 1)"
)


def votes(connection: Connection, until: str = _ALWAYS) -> list[VoteGroup]:
    """All votes, by purpose, annotator and class; ``until``: those recorded by then (ISO 8601, UTC, seconds)."""
    return [group for _, group in _groups(connection, "NULL", until)]


def votes_by_batch(connection: Connection) -> dict[str | None, list[VoteGroup]]:
    """The same votes, apart by the batch that asked for them; None: no batch did."""
    found: dict[str | None, list[VoteGroup]] = {}
    for batch, group in _groups(connection, _ASKED_BY, _ALWAYS):
        found.setdefault(batch, []).append(group)
    return found


def _groups(connection: Connection, batch: str, until: str) -> list[tuple[str | None, VoteGroup]]:
    rows = connection.execute(
        "SELECT batch, purpose, annotator, label, sum(latest) AS votes, sum(latest AND (issued OR priced)) AS bought,"
        " sum(latest AND issued AND NOT priced) AS unpriced, coalesce(sum(cost), 0.0) AS cost,"
        " count(seconds) AS timed, coalesce(sum(seconds), 0.0) AS seconds FROM ("
        f"SELECT {batch} AS batch, s.purpose, v.annotator, c.name AS label, v.cost, v.seconds,"
        f" {_LATEST} AS latest, {_PRICED} AS priced,"
        " EXISTS (SELECT 1 FROM batch_row AS r WHERE r.sample = v.sample) AS issued"
        " FROM vote AS v JOIN sample AS s ON s.id = v.sample LEFT JOIN class_now AS c ON c.position = v.class"
        " WHERE v.recorded_at <= :until"
        ") GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4",
        {"until": until},
    )
    return [(found.pop("batch"), VoteGroup(**found)) for found in map(dict, rows)]


def disputed_share(connection: Connection) -> float | None:
    """Of the images that several annotators labeled, the share whose labels differ; None: there are none."""
    row = connection.execute(
        "SELECT count(*) AS several, coalesce(sum(differ), 0) AS differ FROM"
        " (SELECT min(class) <> max(class) AS differ FROM counted_vote GROUP BY sample HAVING count(class) > 1)"
    ).fetchone()
    return None if not row["several"] else float(row["differ"] / row["several"])
