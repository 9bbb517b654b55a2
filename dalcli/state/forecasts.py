"""Forecasts that were made, and fits on parts of the labels that they may have been made from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dalcli.state.database import Connection, now

Kind = Literal["active", "random"]


@dataclass(frozen=True)
class Quantiles:
    """What was foretold of the metric after so many labels."""

    labels: int
    p10: float
    p50: float
    p90: float


@dataclass(frozen=True)
class StoredForecast:
    """One forecast; ``labels`` is the largest of the ``points`` distinct sizes it was made from."""

    version: str
    metric: str
    kind: Kind
    points: int
    labels: int
    quantiles: tuple[Quantiles, ...]
    made_at: str = ""


@dataclass(frozen=True)
class SubsetFit:
    """A model trained on a random part of the labels, and how it was measured."""

    size: int
    seed: int
    report: Mapping[str, Any]
    seconds: float


def store(connection: Connection, forecast: StoredForecast, inputs: str) -> None:
    """Keep a forecast; the same one again changes nothing."""
    connection.execute(
        "INSERT OR IGNORE INTO forecast (model, metric, kind, points, labels, inputs, quantiles, made_at)"
        " VALUES ((SELECT id FROM model_version WHERE version = ?), ?, ?, ?, ?, ?, ?, ?)",
        (
            forecast.version,
            forecast.metric,
            forecast.kind,
            forecast.points,
            forecast.labels,
            inputs,
            json.dumps([vars(each) for each in forecast.quantiles]),
            now(),
        ),
    )


def is_stored(connection: Connection, version: str, metric: str, inputs: str) -> bool:
    """Whether this forecast was kept before."""
    row = connection.execute(
        "SELECT 1 FROM forecast AS f JOIN model_version AS m ON m.id = f.model"
        " WHERE m.version = ? AND f.metric = ? AND f.inputs = ?",
        (version, metric, inputs),
    ).fetchone()
    return row is not None


def listing(connection: Connection) -> list[StoredForecast]:
    """Every forecast, oldest first."""
    rows = connection.execute(
        "SELECT f.*, m.version FROM forecast AS f JOIN model_version AS m ON m.id = f.model ORDER BY f.id"
    )
    return [
        StoredForecast(
            version=row["version"],
            metric=row["metric"],
            kind=row["kind"],
            points=row["points"],
            labels=row["labels"],
            quantiles=tuple(Quantiles(**each) for each in json.loads(row["quantiles"])),
            made_at=row["made_at"],
        )
        for row in rows
    ]


def store_fit(connection: Connection, inputs: str, fit: SubsetFit) -> None:
    """Keep what a fit came to; the same one again changes nothing."""
    connection.execute(
        "INSERT OR IGNORE INTO subset_fit (inputs, size, seed, report, seconds, made_at) VALUES (?, ?, ?, ?, ?, ?)",
        (inputs, fit.size, fit.seed, json.dumps(fit.report), fit.seconds, now()),
    )


def fits(connection: Connection, inputs: str) -> Sequence[SubsetFit]:
    """Every fit that was made from these inputs, smallest first."""
    rows = connection.execute(
        "SELECT size, seed, report, seconds FROM subset_fit WHERE inputs = ? ORDER BY size, seed", (inputs,)
    )
    return [SubsetFit(row["size"], row["seed"], json.loads(row["report"]), row["seconds"]) for row in rows]
