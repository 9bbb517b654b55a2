"""The ledger of forecasts: what was foretold, what came, and how far off it was.

Only what was foretold is stored. What came is read from the measurements each time, so that neither can be changed by
the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from dalcli.config.hashing import fingerprint
from dalcli.forecasting.forecast import Forecast
from dalcli.planning.class_names import Spellings
from dalcli.planning.metrics import Metric, key_today
from dalcli.planning.result import TrackRecord
from dalcli.planning.trajectory import CurvePoint, Trajectory
from dalcli.state.forecasts import Quantiles, StoredForecast

FACTORS = (1.0, 1.1, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0)
"""How far ahead forecasts are kept, times the labels they were made at."""
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Outcome:
    """What came: a version measured after a forecast, with ``labels`` in all, in the metric's units.

    Attributes:
        p10, p50, p90: foretold of its measurement.
        error: measured − p50.
        inside: whether the measurement lies within p10 and p90.
    """

    version: str
    labels: int
    p10: float
    p50: float
    p90: float
    measured: float
    evaluated: int
    error: float
    inside: bool


@dataclass(frozen=True)
class ScoredForecast:
    """A forecast and what came of it so far."""

    version: str
    metric: str
    kind: str
    points: int
    labels: int
    made_at: str
    quantiles: tuple[Quantiles, ...]
    outcomes: tuple[Outcome, ...]


def to_store(forecast: Forecast, trajectory_version: str, metric: Metric, kind: str, points: int) -> StoredForecast:
    """What is kept of a forecast: what will be *measured* (values in [0, 1]) with :data:`FACTORS` times today's labels.

    That is wider than the true metric's band: the chance of the evaluation examples and of training is in it.
    """
    today = int(forecast.sizes[0])
    sizes = sorted({round(today * factor) for factor in FACTORS})
    quantiles = [Quantiles(size, *(float(q) for q in forecast.measured_at(size, [0.1, 0.5, 0.9]))) for size in sizes]
    return StoredForecast(
        version=trajectory_version,
        metric=metric.key,
        kind="active" if kind == "active" else "random",
        points=points,
        labels=today,
        quantiles=tuple(quantiles),
    )


def called_as_today(stored: Sequence[StoredForecast], spellings: Spellings) -> tuple[StoredForecast, ...]:
    """Forecasts of a class's recall under the name that it has by now."""
    return tuple(replace(each, metric=key_today(each.metric, spellings)) for each in stored)


def inputs_digest(points: Sequence[tuple[int, float, int]], kind: str) -> str:
    """A name for everything that a forecast is made from."""
    return fingerprint(kind, tuple(points))


def scored(forecast: StoredForecast, curve: Trajectory, metric: Metric) -> ScoredForecast:
    """Hold a forecast against every version of its curve that was measured on more labels since."""
    later = [_outcome(point, _at(forecast, point.labels), metric) for point in _came_after(forecast, curve)]
    return ScoredForecast(
        version=forecast.version,
        metric=forecast.metric,
        kind=forecast.kind,
        points=forecast.points,
        labels=forecast.labels,
        made_at=forecast.made_at,
        quantiles=tuple(_shown(each, metric) for each in forecast.quantiles),
        outcomes=tuple(later),
    )


def track_record(forecasts: Sequence[ScoredForecast], metric: Metric) -> TrackRecord:
    """All forecasts of one metric together."""
    outcomes = [outcome for forecast in forecasts for outcome in forecast.outcomes]
    scale = 1.0 if metric.less_is_better else 100.0
    return TrackRecord(
        forecasts=len(forecasts),
        scored=sum(bool(forecast.outcomes) for forecast in forecasts),
        outcomes=len(outcomes),
        coverage=sum(outcome.inside for outcome in outcomes) / len(outcomes) if outcomes else None,
        median_error=median(abs(outcome.error) for outcome in outcomes) * scale if outcomes else None,
    )


def _came_after(forecast: StoredForecast, curve: Trajectory) -> list[CurvePoint]:
    """Versions of the forecast's curve that were measured since, on labels that it reaches to."""
    versions = [point.version for point in curve.points]
    if forecast.version not in versions:
        return []
    later = curve.points[versions.index(forecast.version) + 1 :]
    return [point for point in later if forecast.labels < point.labels <= forecast.quantiles[-1].labels]


def _at(forecast: StoredForecast, labels: int) -> tuple[float, float, float]:
    """Foretold for ``labels``, interpolated in their logarithm."""
    places = np.log([each.labels for each in forecast.quantiles])
    rows = np.array([(each.p10, each.p50, each.p90) for each in forecast.quantiles])
    low, middle, high = (float(np.interp(math.log(labels), places, column)) for column in rows.T)
    return low, middle, high


def _outcome(point: CurvePoint, foretold: tuple[float, float, float], metric: Metric) -> Outcome:
    low, middle, high = foretold
    value, trials = point.measured.value, point.measured.trials
    ends = sorted((metric.shown(low), metric.shown(high)))
    return Outcome(
        version=point.version,
        labels=point.labels,
        p10=ends[0],
        p50=metric.shown(middle),
        p90=ends[1],
        measured=metric.shown(value),
        evaluated=trials,
        error=metric.shown(value) - metric.shown(middle),
        inside=low - _ROUNDING <= value <= high + _ROUNDING,
    )


def _shown(quantiles: Quantiles, metric: Metric) -> Quantiles:
    ends = sorted((metric.shown(quantiles.p10), metric.shown(quantiles.p90)))
    return Quantiles(quantiles.labels, ends[0], metric.shown(quantiles.p50), ends[1])
