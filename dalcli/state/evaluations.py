"""Measurements: one model version on one set of evaluation labels, kept for ever."""

from __future__ import annotations

import json
from typing import Any

from dalcli.state.database import Connection, now


def find(connection: Connection, model: int, labels_digest: str, fingerprint: str) -> dict[str, Any] | None:
    """The stored report of this version on exactly these labels and settings."""
    row = connection.execute(
        "SELECT report FROM evaluation WHERE model = ? AND labels_digest = ? AND fingerprint = ?",
        (model, labels_digest, fingerprint),
    ).fetchone()
    return None if row is None else json.loads(row["report"])


def store(connection: Connection, model: int, labels_digest: str, fingerprint: str, report: dict[str, Any]) -> None:
    """Keep a report; measuring the same thing again changes nothing."""
    connection.execute(
        "INSERT OR IGNORE INTO evaluation (model, labels_digest, fingerprint, report, measured_at)"
        " VALUES (?, ?, ?, ?, ?)",
        (model, labels_digest, fingerprint, json.dumps(report), now()),
    )


def latest_by_version(connection: Connection) -> list[tuple[str, int, dict[str, Any]]]:
    """(version, labels it saw, newest report), oldest version first: the measured learning curve."""
    rows = connection.execute(
        "SELECT m.version, (SELECT count(*) FROM model_label AS l WHERE l.model = m.id) AS labels, e.report"
        " FROM evaluation AS e JOIN model_version AS m ON m.id = e.model"
        " WHERE e.id = (SELECT max(x.id) FROM evaluation AS x WHERE x.model = e.model) ORDER BY m.id"
    )
    return [(row["version"], row["labels"], json.loads(row["report"])) for row in rows]
