"""What the labeling page shows and takes: rows of batches, disputed samples, votes taken back, classes missed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from dalcli.state import classes, consensus
from dalcli.state.catalog import PoolImage, SeenFile
from dalcli.state.database import Connection, now


@dataclass(frozen=True)
class HandedOut:
    """One row of a batch; ``label`` is the class of the newest vote that answers it, None for a skip or none yet.

    Classes are those that ``label`` and the model's ``guess`` count as today.
    """

    sample: int
    sample_id: str
    batch: int
    batch_id: str
    rank: int
    guess: int | None
    confidence: float | None
    state: str
    label: int | None


@dataclass(frozen=True)
class Opinion:
    """The latest vote of one annotator; ``label`` None is a skip."""

    vote: int
    annotator: str
    label: int | None
    at: str


@dataclass(frozen=True)
class Disputed:
    """A sample whose annotators disagree, and what each of them says, oldest vote first."""

    sample: int
    sample_id: str
    opinions: tuple[Opinion, ...]


@dataclass(frozen=True)
class StandingVote:
    """A vote that counts: its annotator's latest about the sample, and not taken back."""

    sample: int
    annotator: str
    file: str
    label: int | None


@dataclass(frozen=True)
class Proposal:
    """A class that somebody missed; ``samples`` (ids) and ``annotators`` are those of the votes that proposed it."""

    name: str
    samples: tuple[str, ...]
    annotators: tuple[str, ...]


def data_version(connection: Connection) -> int:
    """A number that changes whenever somebody else has changed the database, and never because of this connection."""
    return int(connection.execute("PRAGMA data_version").fetchone()[0])


def handed_out(connection: Connection, batches: Iterable[int], sample: int | None = None) -> list[HandedOut]:
    """The rows of some batches (keys), or those of one sample in them, oldest batch first, by rank.

    ``state`` is answered, released or out.
    """
    counted = classes.counted_as(connection)
    rows = connection.execute(
        "SELECT r.sample, s.sample_id, r.batch, b.batch_id, r.rank, r.pseudo_label, r.confidence,"
        " CASE WHEN p.answered THEN 'answered' WHEN r.released_at IS NOT NULL THEN 'released' ELSE 'out' END AS state,"
        " (SELECT v.class FROM standing_vote AS v WHERE v.sample = r.sample AND v.id > b.after_vote"
        "  ORDER BY v.id DESC LIMIT 1) AS label"
        " FROM batch_row AS r JOIN batch AS b ON b.id = r.batch JOIN sample AS s ON s.id = r.sample"
        " JOIN batch_progress AS p ON p.batch = r.batch AND p.rank = r.rank"
        " WHERE r.batch IN (SELECT value FROM json_each(?)) AND (? IS NULL OR r.sample = ?) ORDER BY r.batch, r.rank",
        (json.dumps(sorted(batches)), sample, sample),
    )
    return [
        HandedOut(
            sample=row["sample"],
            sample_id=row["sample_id"],
            batch=row["batch"],
            batch_id=row["batch_id"],
            rank=row["rank"],
            guess=None if row["pseudo_label"] is None else counted[row["pseudo_label"]],
            confidence=row["confidence"],
            state=row["state"],
            label=None if row["label"] is None else counted[row["label"]],
        )
        for row in rows
    ]


def disputed(connection: Connection, sample: int | None = None) -> list[Disputed]:
    """Every readable sample (or this one) whose annotators disagree, in the order of their first votes."""
    counted = classes.counted_as(connection)
    one = "" if sample is None else "a.sample = :sample AND"
    rows = connection.execute(
        "SELECT s.id, s.sample_id, v.id AS vote, v.annotator, v.class, coalesce(v.labeled_at, v.recorded_at) AS at"
        " FROM answer AS a JOIN sample AS s ON s.id = a.sample JOIN latest_vote AS v ON v.sample = a.sample"
        f" WHERE {one} a.state = 'disputed' AND s.quarantine IS NULL"
        " ORDER BY (SELECT min(w.id) FROM vote AS w WHERE w.sample = s.id), s.id, v.id",
        {"sample": sample},
    )
    found = []
    for (key, sample_id), votes in groupby(rows, key=lambda row: (row["id"], row["sample_id"])):
        opinions = tuple(
            Opinion(row["vote"], row["annotator"], None if row["class"] is None else counted[row["class"]], row["at"])
            for row in votes
        )
        found.append(Disputed(key, sample_id, opinions))
    return found


def image(connection: Connection, sample: int) -> PoolImage | None:
    """A sample (key) with its files, readable or not; None if it was forgotten."""
    rows = connection.execute(
        "SELECT s.sample_id, f.path, f.size, f.mtime_ns FROM sample AS s LEFT JOIN file AS f ON f.sample = s.id"
        " WHERE s.id = ? ORDER BY f.id",
        (sample,),
    ).fetchall()
    files = tuple(SeenFile(row["path"], row["size"], row["mtime_ns"]) for row in rows if row["path"] is not None)
    return PoolImage(sample, rows[0]["sample_id"], files) if rows else None


def latest_vote(connection: Connection, sample: int, annotator: str) -> int | None:
    """The id of an annotator's latest vote about a sample that was not taken back."""
    row = connection.execute(
        "SELECT id FROM latest_vote WHERE sample = ? AND annotator = ?", (sample, annotator)
    ).fetchone()
    return None if row is None else int(row["id"])


def standing(connection: Connection, vote: int) -> StandingVote | None:
    """The vote with this id, if it counts: it is its annotator's latest about the sample, and was not taken back."""
    row = connection.execute("SELECT sample, annotator, file, class FROM latest_vote WHERE id = ?", (vote,)).fetchone()
    return None if row is None else StandingVote(row["sample"], row["annotator"], row["file"], row["class"])


def standing_votes(connection: Connection, votes: Iterable[int]) -> set[int]:
    """Those of ``votes`` (ids) that count."""
    rows = connection.execute(
        "SELECT v.id FROM json_each(?) AS j JOIN latest_vote AS v ON v.id = j.value", (json.dumps(list(votes)),)
    )
    return {row["id"] for row in rows}


def withdraw(connection: Connection, vote: int) -> None:
    """Take a vote back. It stays in the ledger, and what the same annotator said before counts again."""
    connection.execute("INSERT INTO withdrawal (vote, withdrawn_at) VALUES (?, ?)", (vote, now()))
    (sample,) = connection.execute("SELECT sample FROM vote WHERE id = ?", (vote,)).fetchone()
    consensus.settle(connection, [sample])


def propose(connection: Connection, vote: int, name: str) -> None:
    """Record that ``vote``, which skips its sample, does so for want of a class called ``name``."""
    connection.execute("INSERT INTO proposal (vote, name) VALUES (?, ?)", (vote, name))


def proposed_name(connection: Connection, vote: int) -> str | None:
    """The class that was proposed with this vote."""
    row = connection.execute("SELECT name FROM proposal WHERE vote = ?", (vote,)).fetchone()
    return None if row is None else str(row["name"])


def proposals(connection: Connection) -> list[Proposal]:
    """Classes proposed by votes that count, the most wanted first."""
    rows = connection.execute(
        "SELECT p.name, s.sample_id, v.annotator FROM proposal AS p"
        " JOIN latest_vote AS v ON v.id = p.vote JOIN sample AS s ON s.id = v.sample ORDER BY p.name, v.id"
    ).fetchall()
    found = []
    for name, group in groupby(rows, key=lambda row: row["name"]):
        members = list(group)
        samples, annotators = (tuple(row[column] for row in members) for column in ("sample_id", "annotator"))
        found.append(Proposal(name, samples, annotators))
    return sorted(found, key=lambda proposal: (-len(proposal.samples), proposal.name))
