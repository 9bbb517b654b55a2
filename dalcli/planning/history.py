"""``plan history``: every forecast that was made, what came of it, error and coverage so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dalcli.planning import ledger
from dalcli.planning.ledger import ScoredForecast
from dalcli.planning.metrics import Metric, name_of, parse
from dalcli.planning.result import TrackRecord
from dalcli.planning.trajectory import Trajectory, trajectory
from dalcli.state import classes, forecasts
from dalcli.state import trajectory as measured_versions
from dalcli.state.forecasts import StoredForecast
from dalcli.state.trajectory import MeasuredVersion
from dalcli.workspace.session import Session


@dataclass(frozen=True)
class MetricRecord:
    """How good the forecasts of one metric were."""

    metric: str
    less_is_better: bool
    record: TrackRecord


@dataclass(frozen=True)
class HistoryResult:
    """Every forecast, oldest first, and all of a metric together."""

    forecasts: tuple[ScoredForecast, ...]
    metrics: tuple[MetricRecord, ...]


def history(session: Session) -> HistoryResult:
    """Hold every forecast against the measurements that came after it."""
    config = session.config
    with session.database.read() as connection:
        spellings = classes.spellings(connection)
        stored = ledger.called_as_today(forecasts.listing(connection), spellings)
        metrics = {key: parse(name_of(key), spellings, config.plan, "the ledger") for key in _keys(stored)}
        matrices = any(metric.costs is not None for metric in metrics.values())
        measured = measured_versions.measured(connection, matrices=matrices)
        merged_at = classes.last_merge(connection)
    level = config.evaluation.confidence
    curves = {key: _curves(measured, metric, level, merged_at) for key, metric in metrics.items() if metric.key == key}
    scored = [
        ledger.scored(each, curves.get(each.metric, {}).get(each.version, _NOTHING), metrics[each.metric])
        for each in stored
    ]
    records = []
    for key, metric in metrics.items():
        of_metric = [found for found, each in zip(scored, stored, strict=True) if each.metric == key]
        records.append(MetricRecord(metric.name, metric.less_is_better, ledger.track_record(of_metric, metric)))
    return HistoryResult(tuple(scored), tuple(records))


_NOTHING = Trajectory((), False, ())
"""Of an error whose costs are configured otherwise by now: it cannot be measured any more."""


def _keys(stored: Sequence[StoredForecast]) -> list[str]:
    return list(dict.fromkeys(each.metric for each in stored))


def _curves(
    measured: Sequence[MeasuredVersion], metric: Metric, level: float, merged_at: str | None
) -> dict[str, Trajectory]:
    """The curve that each version lies on: a forecast is held against its own."""
    groups: dict[tuple[str, int], list[MeasuredVersion]] = {}
    for version in measured:
        groups.setdefault((version.settings, version.classes), []).append(version)
    found: dict[str, Trajectory] = {}
    for group in groups.values():
        curve = trajectory(group, metric, level, merged_at)
        found |= dict.fromkeys((version.version for version in group), curve)
    return found
