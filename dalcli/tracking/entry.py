"""What a log says of one measurement: parameters, metrics, and when it was made."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import dalcli
from dalcli.config.hashing import fingerprint, short_hash
from dalcli.config.schema import Config
from dalcli.planning.money import costs_today, spent
from dalcli.state import classes, spending
from dalcli.state.database import Connection
from dalcli.state.tracking import LoggedMeasurement
from dalcli.workspace.session import Session

_NOT_SHAPING = {"run", "tracking", "plan", "costs"}
"""Sections of the configuration that change no model, no batch and no measurement."""


@dataclass(frozen=True)
class Entry:
    """One measurement.

    Attributes:
        key: a name for exactly this measurement of this version: the same in every log, and for ever.
        version: of the model; ``labels`` is what it was trained on, and the step that the metrics are logged at.
        measured_at: ISO 8601, UTC.
        params: what does not change while the configuration stays.
        metrics: numbers; those that there are not (no price, say) are left out.
        strategies: who chose the labels; '' is none of ours.
    """

    key: str
    version: str
    labels: int
    measured_at: str
    params: dict[str, str]
    metrics: dict[str, float] = field(default_factory=dict)
    strategies: tuple[str, ...] = ()

    @property
    def milliseconds(self) -> int:
        """``measured_at`` since 1970."""
        return round(datetime.fromisoformat(self.measured_at).timestamp() * 1000)


def entry(connection: Connection, session: Session, measured: LoggedMeasurement) -> Entry:
    """A stored measurement as logs have it."""
    votes = spending.votes(connection, until=measured.measured_at)
    costs = costs_today(session.config.costs, classes.spellings(connection), session.workspace.config_path)
    money = spent(costs, votes, measured.rounds)
    metrics = _metrics(measured) | {"votes_bought": money.votes, "cost": money.money}
    return Entry(
        key=short_hash(f"{measured.version} {measured.settings} {measured.digest} {measured.measured_at}"),
        version=measured.version,
        labels=measured.labels,
        measured_at=measured.measured_at,
        params=params(session.config),
        metrics={name: value for name, value in metrics.items() if value is not None},
        strategies=measured.strategies,
    )


def params(config: Config) -> dict[str, str]:
    """The settings that whoever compares runs asks about first."""
    return {
        "dalcli": dalcli.__version__,
        "config": config_hash(config),
        "seed": str(config.seed),
        "strategy": config.query.strategy,
        "cold_start": config.query.cold_start,
        "model": config.model.name,
        "train": config.model.train,
        "currency": config.costs.currency or "",
    }


def config_hash(config: Config) -> str:
    """Changes with every setting that shapes models, batches or measurements."""
    return fingerprint(config.model_dump(mode="json", exclude=_NOT_SHAPING))


def _metrics(measured: LoggedMeasurement) -> dict[str, Any]:
    report = measured.report
    interval, macro = report["accuracy_interval"], report["macro"]
    return {
        "labels": measured.labels,
        "accuracy": report["accuracy"],
        "accuracy_low": interval["low"],
        "accuracy_high": interval["high"],
        "macro_recall": macro["recall"],
        "macro_f1": macro["f1"],
        "nll": report["nll"],
        "brier": report["brier"],
        "ece": report["ece"],
        "evaluation_examples": report["examples"],
    }
