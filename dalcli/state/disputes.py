"""Samples on which annotators disagree, and what each class has for it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from dalcli.state.catalog import Purpose
from dalcli.state.database import Connection


@dataclass(frozen=True)
class Dispute:
    """A readable sample that is disputed and not out for another look: ``votes`` by class position, latest ones."""

    sample: int
    votes: Mapping[int, int]


def open_ones(connection: Connection, purpose: Purpose) -> list[Dispute]:
    """Those of one purpose, in the order of keys."""
    rows = connection.execute(
        "SELECT v.sample, v.class FROM counted_vote AS v JOIN answer AS a ON a.sample = v.sample"
        " JOIN sample AS s ON s.id = v.sample WHERE a.state = 'disputed' AND v.class IS NOT NULL"
        " AND s.purpose = ? AND s.quarantine IS NULL AND v.sample NOT IN (SELECT sample FROM in_flight)"
        " ORDER BY v.sample",
        (purpose,),
    )
    votes: defaultdict[int, Counter[int]] = defaultdict(Counter)
    for row in rows:
        votes[row["sample"]][row["class"]] += 1
    return [Dispute(sample, counts) for sample, counts in votes.items()]


def labeled_and_free(connection: Connection) -> set[int]:
    """Readable training samples that have a label and are not out."""
    rows = connection.execute(
        "SELECT a.sample FROM answer AS a JOIN sample AS s ON s.id = a.sample WHERE a.state = 'labeled'"
        " AND s.purpose = 'training' AND s.quarantine IS NULL AND a.sample NOT IN (SELECT sample FROM in_flight)"
    )
    return {row["sample"] for row in rows}
