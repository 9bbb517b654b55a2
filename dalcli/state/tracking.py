"""Which measurements were logged elsewhere; the measurements that still are to be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dalcli.state.database import Connection, now


@dataclass(frozen=True)
class LoggedMeasurement:
    """A measurement with what a log says of it.

    Attributes:
        key: of the measurement.
        version, labels, seed, strategies: of the model: what it was trained on, and who chose those labels ('' is none
            of ours).
        settings: a name for everything that shaped its training.
        digest: a name for the evaluation labels it was measured on.
        measured_at: ISO 8601, UTC.
        rounds: training batches that had been issued by then.
    """

    key: int
    version: str
    labels: int
    seed: int
    settings: str
    strategies: tuple[str, ...]
    report: Mapping[str, Any]
    digest: str
    measured_at: str
    rounds: int


def missing(connection: Connection, place: str) -> list[LoggedMeasurement]:
    """Measurements that ``place`` does not have, oldest first."""
    rows = connection.execute(
        "SELECT e.id, m.id AS model, m.version, m.seed, m.fingerprint, e.report, e.labels_digest, e.measured_at,"
        " (SELECT count(*) FROM model_label AS l WHERE l.model = m.id) AS labels,"
        " (SELECT count(*) FROM batch AS b WHERE b.purpose = 'training' AND b.issued_at <= e.measured_at) AS rounds"
        " FROM evaluation AS e JOIN model_version AS m ON m.id = e.model"
        " WHERE NOT EXISTS (SELECT 1 FROM tracked AS t WHERE t.place = ? AND t.evaluation = e.id) ORDER BY e.id",
        (place,),
    ).fetchall()
    return [
        LoggedMeasurement(
            key=row["id"],
            version=row["version"],
            labels=row["labels"],
            seed=row["seed"],
            settings=row["fingerprint"],
            strategies=_strategies(connection, row["model"]),
            report=json.loads(row["report"]),
            digest=row["labels_digest"],
            measured_at=row["measured_at"],
            rounds=row["rounds"],
        )
        for row in rows
    ]


def count_missing(connection: Connection, place: str) -> int:
    """How many measurements ``place`` does not have."""
    row = connection.execute(
        "SELECT count(*) FROM evaluation AS e"
        " WHERE NOT EXISTS (SELECT 1 FROM tracked AS t WHERE t.place = ? AND t.evaluation = e.id)",
        (place,),
    ).fetchone()
    return int(row[0])


def remember(connection: Connection, place: str, evaluation: int) -> None:
    """Note that ``place`` has a measurement."""
    connection.execute(
        "INSERT OR IGNORE INTO tracked (place, evaluation, tracked_at) VALUES (?, ?, ?)", (place, evaluation, now())
    )


def _strategies(connection: Connection, model: int) -> tuple[str, ...]:
    rows = connection.execute(
        "SELECT DISTINCT coalesce((SELECT r.strategy FROM batch_row AS r JOIN batch AS b ON b.id = r.batch"
        " WHERE r.sample = l.sample AND NOT b.relabel ORDER BY r.batch DESC LIMIT 1), '') AS strategy"
        " FROM model_label AS l WHERE l.model = ? ORDER BY 1",
        (model,),
    )
    return tuple(row["strategy"] for row in rows)
