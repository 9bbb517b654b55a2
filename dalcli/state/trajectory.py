"""The measured learning curve: every measured version with the batches that its newest labels came from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dalcli.state.database import Connection
from dalcli.state.evaluations import WITHOUT_MATRIX

Start = Literal["fresh", "continued", "head"]


@dataclass(frozen=True)
class MeasuredVersion:
    """One version as it was measured last.

    Attributes:
        labels: what it was trained on.
        settings: a name for everything that shaped its training; versions with different ones are different curves.
        classes: how many it knows.
        strategies: how many of the labels its parent had not seen were chosen by each strategy; '' is none of ours.
        start: head: the last layer of a frozen network; continued: it has a parent; fresh: it has none.
    """

    version: str
    labels: int
    settings: str
    classes: int
    strategies: Mapping[str, int]
    start: Start
    report: Mapping[str, Any]
    measured_at: str


def measured(connection: Connection, *, matrices: bool) -> list[MeasuredVersion]:
    """Every measured version, oldest first; their reports with confusion matrices or without."""
    report = "e.report" if matrices else WITHOUT_MATRIX
    rows = connection.execute(
        f"SELECT m.id, m.version, m.parent, m.fingerprint, m.classes, m.penalty, {report} AS report, e.measured_at,"
        " (SELECT count(*) FROM model_label AS l WHERE l.model = m.id) AS labels"
        " FROM evaluation AS e JOIN model_version AS m ON m.id = e.model"
        " WHERE e.id = (SELECT max(x.id) FROM evaluation AS x WHERE x.model = e.model) ORDER BY m.id"
    ).fetchall()
    return [
        MeasuredVersion(
            version=row["version"],
            labels=row["labels"],
            settings=row["fingerprint"],
            classes=row["classes"],
            strategies=_strategies(connection, row["id"], row["parent"]),
            start="head" if row["penalty"] is not None else "fresh" if row["parent"] is None else "continued",
            report=json.loads(row["report"]),
            measured_at=row["measured_at"],
        )
        for row in rows
    ]


def _strategies(connection: Connection, model: int, parent: int | None) -> dict[str, int]:
    """Of the labels that came between two versions, who chose them; a sample in two batches counts with the last.

    Batches that ask for another look chose nobody.
    """
    rows = connection.execute(
        "SELECT coalesce((SELECT r.strategy FROM batch_row AS r JOIN batch AS b ON b.id = r.batch"
        " WHERE r.sample = l.sample AND NOT b.relabel ORDER BY r.batch DESC LIMIT 1), '')"
        " AS strategy, count(*) AS n FROM model_label AS l WHERE l.model = ?"
        " AND NOT EXISTS (SELECT 1 FROM model_label AS p WHERE p.model = ? AND p.sample = l.sample)"
        " GROUP BY 1 ORDER BY 2 DESC, 1",
        (model, parent),
    )
    return {row["strategy"]: row["n"] for row in rows}
