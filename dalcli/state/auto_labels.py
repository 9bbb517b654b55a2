"""Labels by a model: runs, each with its promise, that stand or were withdrawn; what they say, and people say of them.

Append-only, like votes, and apart from them: nothing that reads votes can take one of these for a person's.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dalcli.state.database import INTERNAL, Connection, Row, now

PREFIX = "auto:"
"""Of annotators that are models: no person's name begins with it."""


@dataclass(frozen=True)
class AutoRun:
    """One run; ``withdrawn_at`` None: it stands.

    Attributes:
        annotator: ``auto:m-0007``.
        labels: images that it labeled; ``standing`` of them count: no person has said anything of them since.
    """

    key: int = field(metadata=INTERNAL)
    annotator: str
    version: str
    promise: Mapping[str, Any]
    recorded_at: str
    labels: int
    standing: int
    withdrawn_at: str | None
    reason: str | None


@dataclass(frozen=True)
class AutoVote:
    """One label by a model; ``counts``: its run stands, and no person has said anything of the sample."""

    sample: int = field(metadata=INTERNAL)
    sample_id: str
    path: str
    label: str
    confidence: float
    annotator: str
    recorded_at: str
    withdrawn_at: str | None
    reason: str | None
    counts: bool


@dataclass(frozen=True)
class Candidates:
    """The training samples that a model may label: no person has said anything of them, and none is in flight.

    Attributes:
        keys, sample_ids: of each, in the order of sample ids.
        chosen: readable training samples that are not among them and were not drawn at random.
    """

    keys: Sequence[int]
    sample_ids: Sequence[str]
    chosen: int


@dataclass(frozen=True)
class ReserveState:
    """A readable evaluation sample in the random order of the reserve: ``position`` u, and whether anybody answered."""

    sample: int
    position: float
    answered: bool


_PATH = "coalesce((SELECT f.path FROM file AS f WHERE f.sample = s.id ORDER BY f.id LIMIT 1), '')"
_FREE = """
    s.purpose = 'training' AND s.quarantine IS NULL
    AND NOT EXISTS (SELECT 1 FROM standing_vote AS v WHERE v.sample = s.id)
    AND s.id NOT IN (SELECT sample FROM in_flight)
"""
_RUNS = """
    SELECT r.id, r.annotator, m.version, r.promise, r.recorded_at, w.withdrawn_at, w.reason,
           (SELECT count(*) FROM auto_vote AS v WHERE v.run = r.id) AS labels,
           (SELECT count(*) FROM auto_label AS l WHERE l.run = r.id) AS standing
    FROM auto_run AS r JOIN model_version AS m ON m.id = r.model
    LEFT JOIN auto_withdrawal AS w ON w.run = r.id
"""


def is_model(annotator: str) -> bool:
    """Whether an annotator's name is one of a model."""
    return annotator.strip().casefold().startswith(PREFIX)


def candidates(connection: Connection) -> Candidates:
    """What can be labeled by a model now, and how many others were taken out of the pool by choice."""
    rows = connection.execute(
        f"SELECT s.id, s.sample_id FROM sample AS s WHERE {_FREE} ORDER BY s.sample_id"
    ).fetchall()
    (taken,) = connection.execute(
        f"SELECT count(*) FROM sample AS s WHERE s.purpose = 'training' AND s.quarantine IS NULL AND NOT ({_FREE})"
    ).fetchone()
    (drawn,) = connection.execute(
        f"SELECT count(*) FROM sample AS s WHERE s.purpose = 'training' AND s.quarantine IS NULL AND NOT ({_FREE})"
        " AND EXISTS (SELECT 1 FROM batch_row AS r WHERE r.sample = s.id)"
        " AND NOT EXISTS (SELECT 1 FROM batch_row AS r JOIN batch AS b ON b.id = r.batch"
        "  WHERE r.sample = s.id AND NOT b.relabel AND r.arm <> 'control' AND r.strategy <> 'random')"
    ).fetchone()
    return Candidates([row["id"] for row in rows], [row["sample_id"] for row in rows], taken - drawn)


def reserve(connection: Connection) -> list[ReserveState]:
    """Readable evaluation samples in the order in which they are handed out."""
    rows = connection.execute(
        "SELECT s.id, s.reserve_position, EXISTS (SELECT 1 FROM standing_vote AS v WHERE v.sample = s.id) AS answered"
        " FROM sample AS s WHERE s.purpose = 'evaluation' AND s.quarantine IS NULL"
        " ORDER BY s.reserve_position, s.sample_id"
    )
    return [ReserveState(row["id"], row["reserve_position"], bool(row["answered"])) for row in rows]


def saw_auto_labels(connection: Connection, model: int) -> bool:
    """Whether a version (key), or one that it started from, was trained on labels by a model."""
    row = connection.execute(
        "WITH RECURSIVE line (id) AS (SELECT ? UNION SELECT m.parent FROM model_version AS m JOIN line AS l"
        " ON m.id = l.id WHERE m.parent IS NOT NULL)"
        " SELECT 1 FROM model_label AS l WHERE l.model IN (SELECT id FROM line)"
        " AND EXISTS (SELECT 1 FROM auto_vote AS v WHERE v.sample = l.sample)"
        " AND NOT EXISTS (SELECT 1 FROM vote AS v WHERE v.sample = l.sample) LIMIT 1",
        (model,),
    ).fetchone()
    return row is not None


def record(
    connection: Connection,
    model: int,
    version: str,
    promise: Mapping[str, Any],
    votes: Iterable[tuple[int, int, float]],
) -> int:
    """A run of ``version``: (sample, class, confidence) each; what stood before is withdrawn. Returns the run's key."""
    name = f"{PREFIX}{version}"
    for run in standing(connection):
        withdraw(connection, run, f"replaced by a later run of {name}")
    cursor = connection.execute(
        "INSERT INTO auto_run (model, annotator, promise, recorded_at) VALUES (?, ?, ?, ?)",
        (model, name, json.dumps(promise), now()),
    )
    run_key = cursor.lastrowid
    assert run_key is not None
    connection.executemany(
        "INSERT INTO auto_vote (run, sample, class, confidence) VALUES (?, ?, ?, ?)",
        ((run_key, sample, label, confidence) for sample, label, confidence in votes),
    )
    return run_key


def withdraw(connection: Connection, run: AutoRun, reason: str) -> None:
    """Take all labels of a run back; they stay in the ledger."""
    connection.execute(
        "INSERT INTO auto_withdrawal (run, reason, withdrawn_at) VALUES (?, ?, ?)", (run.key, reason, now())
    )


def runs(connection: Connection) -> list[AutoRun]:
    """All runs, oldest first."""
    return [_run(row) for row in connection.execute(f"{_RUNS} ORDER BY r.id")]


def standing(connection: Connection) -> list[AutoRun]:
    """Runs that were not withdrawn: one at most, but for what another program did."""
    return [_run(row) for row in connection.execute(f"{_RUNS} WHERE w.run IS NULL ORDER BY r.id")]


def labels(connection: Connection) -> dict[int, int]:
    """Sample key → class of every label that counts, in the order of sample ids."""
    rows = connection.execute(
        "SELECT l.sample, l.class FROM auto_label AS l JOIN sample AS s ON s.id = l.sample"
        " WHERE s.quarantine IS NULL ORDER BY s.sample_id"
    )
    return {row["sample"]: row["class"] for row in rows}


def not_seen_by(connection: Connection, model: int) -> int:
    """How many labels that count a version (key) was not trained on."""
    (found,) = connection.execute(
        "SELECT count(*) FROM auto_label AS l JOIN sample AS s ON s.id = l.sample LEFT JOIN model_label AS m"
        " ON m.model = ? AND m.sample = l.sample"
        " WHERE s.quarantine IS NULL AND (m.class IS NULL OR m.class <> l.class)",
        (model,),
    ).fetchone()
    return int(found)


def votes(connection: Connection, sample: int | None = None, annotator: str | None = None) -> Iterator[AutoVote]:
    """Every label by a model, in the order in which they were recorded: all, or of one sample or annotator."""
    conditions = {"v.sample = ?": sample, "r.annotator = ?": annotator}
    chosen = {condition: value for condition, value in conditions.items() if value is not None}
    where = f"WHERE {' AND '.join(chosen)}" if chosen else ""
    rows = connection.execute(
        f"SELECT v.sample, s.sample_id, {_PATH} AS path, n.name AS label, v.confidence, r.annotator, r.recorded_at,"
        " w.withdrawn_at, w.reason,"
        " EXISTS (SELECT 1 FROM auto_label AS l WHERE l.run = v.run AND l.sample = v.sample) AS counts"
        " FROM auto_vote AS v JOIN auto_run AS r ON r.id = v.run JOIN sample AS s ON s.id = v.sample"
        " JOIN class_now AS n ON n.position = v.class LEFT JOIN auto_withdrawal AS w ON w.run = v.run"
        f" {where} ORDER BY v.run, s.sample_id",
        tuple(chosen.values()),
    )
    for row in rows:
        yield _vote(row)


def counting(connection: Connection) -> list[AutoVote]:
    """Those that count, in the order of sample ids; of readable samples."""
    rows = connection.execute(
        f"SELECT l.sample, s.sample_id, {_PATH} AS path, n.name AS label, l.confidence, l.annotator, l.recorded_at,"
        " NULL AS withdrawn_at, NULL AS reason, 1 AS counts"
        " FROM auto_label AS l JOIN sample AS s ON s.id = l.sample JOIN class_now AS n ON n.position = l.class"
        " WHERE s.quarantine IS NULL ORDER BY s.sample_id"
    )
    return [_vote(row) for row in rows]


def tried(connection: Connection, model: int, labels_digest: str, options: Mapping[str, Any]) -> int:
    """Remember a try; how many there were by now. The same one again is not another."""
    connection.execute(
        "INSERT OR IGNORE INTO auto_try (model, labels_digest, options, tried_at) VALUES (?, ?, ?, ?)",
        (model, labels_digest, json.dumps(options, sort_keys=True), now()),
    )
    return tries(connection)


def tries(connection: Connection) -> int:
    """How often somebody has tried."""
    return int(connection.execute("SELECT count(*) FROM auto_try").fetchone()[0])


def _run(row: Row) -> AutoRun:
    return AutoRun(
        key=row["id"],
        annotator=row["annotator"],
        version=row["version"],
        promise=json.loads(row["promise"]),
        recorded_at=row["recorded_at"],
        labels=row["labels"],
        standing=row["standing"],
        withdrawn_at=row["withdrawn_at"],
        reason=row["reason"],
    )


def _vote(row: Row) -> AutoVote:
    return AutoVote(
        sample=row["sample"],
        sample_id=row["sample_id"],
        path=row["path"],
        label=row["label"],
        confidence=row["confidence"],
        annotator=row["annotator"],
        recorded_at=row["recorded_at"],
        withdrawn_at=row["withdrawn_at"],
        reason=row["reason"],
        counts=bool(row["counts"]),
    )
