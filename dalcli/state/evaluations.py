"""Measurements: one model version on one set of evaluation labels, kept for ever."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dalcli.state.database import Connection, Row, now


@dataclass(frozen=True)
class Measurement:
    """One measurement of one version; ``labels`` is how many that version was trained on.

    Attributes:
        temperature: what calibrates the version; None: too few evaluation labels, or an older program measured.
        outcomes: what it said of every example, packed (``dalcli/evaluation/outcomes.py``); None: an older program
            measured, or it was asked not to be read.
        confidences: how sure it was of what it said of each of them, as float32 bytes in the order of ``outcomes``,
            before any temperature; None like those.
    """

    version: str
    labels: int
    report: Mapping[str, Any]
    temperature: float | None
    outcomes: bytes | None
    confidences: bytes | None = None


_SELECT = """
    SELECT m.version, (SELECT count(*) FROM model_label AS l WHERE l.model = m.id) AS labels,
           {report} AS report, e.temperature, {outcomes} AS outcomes, {confidences} AS confidences
    FROM evaluation AS e JOIN model_version AS m ON m.id = e.model
"""
_WHOLE = _SELECT.format(report="e.report", outcomes="e.outcomes", confidences="e.confidences")
# With 1,000 classes the matrix is nearly all of a report: SQLite leaves it out ten times faster than Python reads it.
WITHOUT_MATRIX = "json_remove(e.report, '$.confusion')"
_LIGHT = _SELECT.format(report=WITHOUT_MATRIX, outcomes="NULL", confidences="NULL")
_NEWEST_OF_ITS_VERSION = "e.id = (SELECT max(x.id) FROM evaluation AS x WHERE x.model = e.model)"


def find(connection: Connection, model: int, labels_digest: str, fingerprint: str) -> Measurement | None:
    """The stored measurement of this version on exactly these labels and settings."""
    row = connection.execute(
        f"{_WHOLE} WHERE e.model = ? AND e.labels_digest = ? AND e.fingerprint = ?",
        (model, labels_digest, fingerprint),
    ).fetchone()
    return None if row is None else _measurement(row)


def store(
    connection: Connection,
    model: int,
    labels_digest: str,
    fingerprint: str,
    report: Mapping[str, Any],
    temperature: float | None = None,
    outcomes: bytes | None = None,
    confidences: bytes | None = None,
) -> None:
    """Keep a measurement; the same thing again adds at most what an older program did not measure."""
    connection.execute(
        "INSERT INTO evaluation (model, labels_digest, fingerprint, report, temperature, outcomes, confidences,"
        " measured_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (model, labels_digest, fingerprint) DO UPDATE"
        " SET report = excluded.report, temperature = excluded.temperature, outcomes = excluded.outcomes,"
        " confidences = excluded.confidences"
        " WHERE evaluation.confidences IS NULL AND excluded.confidences IS NOT NULL"
        " OR evaluation.outcomes IS NULL AND excluded.outcomes IS NOT NULL",
        (model, labels_digest, fingerprint, json.dumps(report), temperature, outcomes, confidences, now()),
    )


def newest_by_version(connection: Connection) -> list[Measurement]:
    """The newest measurement of every version, oldest version first: the measured learning curve.

    Without outcomes and confusion matrices.
    """
    return [_measurement(row) for row in connection.execute(f"{_LIGHT} WHERE {_NEWEST_OF_ITS_VERSION} ORDER BY m.id")]


def newest_version(connection: Connection) -> str | None:
    """The newest version that was measured at all."""
    row = connection.execute(
        "SELECT version FROM model_version WHERE id = (SELECT max(model) FROM evaluation)"
    ).fetchone()
    return None if row is None else str(row["version"])


def newest_of(connection: Connection, version: str) -> Measurement | None:
    """The newest measurement of ``version``, with outcomes: its ``temperature`` is the one to use."""
    row = connection.execute(f"{_WHOLE} WHERE m.version = ? AND {_NEWEST_OF_ITS_VERSION}", (version,)).fetchone()
    return None if row is None else _measurement(row)


def before(connection: Connection, version: str) -> Measurement | None:
    """The newest measurement of the last version before ``version`` that was measured at all, with outcomes."""
    row = connection.execute(
        f"{_WHOLE} WHERE {_NEWEST_OF_ITS_VERSION}"
        " AND m.id < (SELECT v.id FROM model_version AS v WHERE v.version = ?) ORDER BY m.id DESC LIMIT 1",
        (version,),
    ).fetchone()
    return None if row is None else _measurement(row)


def store_gain(connection: Connection, model: int, inputs: str, gain: Mapping[str, Any]) -> None:
    """Keep what choosing has gained; the same inputs again change nothing."""
    connection.execute(
        "INSERT OR IGNORE INTO control_gain (model, inputs, gain, measured_at) VALUES (?, ?, ?, ?)",
        (model, inputs, json.dumps(gain), now()),
    )


def find_gain(connection: Connection, model: int, inputs: str) -> dict[str, Any] | None:
    """What was measured with exactly these inputs."""
    row = connection.execute("SELECT gain FROM control_gain WHERE model = ? AND inputs = ?", (model, inputs)).fetchone()
    return None if row is None else dict(json.loads(row["gain"]))


def newest_gain(connection: Connection) -> dict[str, Any] | None:
    """What was measured last, if anything: a light command shows this."""
    row = connection.execute("SELECT gain FROM control_gain ORDER BY id DESC LIMIT 1").fetchone()
    return None if row is None else dict(json.loads(row["gain"]))


def _measurement(row: Row) -> Measurement:
    packed, sure = row["outcomes"], row["confidences"]
    return Measurement(
        version=row["version"],
        labels=row["labels"],
        report=json.loads(row["report"]),
        temperature=row["temperature"],
        outcomes=None if packed is None else bytes(packed),
        confidences=None if sure is None else bytes(sure),
    )
