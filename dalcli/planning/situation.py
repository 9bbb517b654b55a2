"""Everything that a plan depends on, read in one snapshot."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dalcli.config.planning import CostsConfig
from dalcli.evaluation.run import is_measured
from dalcli.planning.class_names import refusal
from dalcli.planning.ledger import called_as_today
from dalcli.planning.metrics import Metric, parse
from dalcli.planning.money import Spent, Tariff, costs_today, spent, tariff
from dalcli.planning.trajectory import Trajectory, trajectory
from dalcli.state import batches, catalog, classes, evaluations, forecasts, ledger, spending, versions
from dalcli.state import trajectory as measured_versions
from dalcli.state.batches import Batch
from dalcli.state.forecasts import StoredForecast
from dalcli.state.trajectory import MeasuredVersion
from dalcli.state.versions import ModelVersion
from dalcli.workspace.session import Session

_FEWEST_ANSWERS = 20
"""Fewer answered images say too little of how many give a usable label."""
_USUAL_PART = 0.25
"""Where nobody has said how large batches are: this part of the labels there are."""
_FIRST_OF_A_CLASS = 10


@dataclass(frozen=True)
class Situation:
    """A workspace as planning sees it.

    Attributes:
        states: samples by purpose and state.
        own_class: by position, whether a class counts for itself: not those that were merged into others.
        class_labels: training labels by class.
        measured: every measured version; ``curve`` those of them that lie on today's curve.
        costs: as configured, classes called by today's names.
        usable: share of answered training images that gave a label to train on.
        batch_images: images of a usual batch.
        is_measured: whether the newest model was measured on the evaluation labels of now.
        newer_labels: how many labels the newest model has not seen.
    """

    classes: tuple[str, ...]
    own_class: tuple[bool, ...]
    states: Mapping[str, Counter[str]]
    class_labels: Mapping[str, int]
    metric: Metric
    measured: Sequence[MeasuredVersion]
    curve: Trajectory
    stored: Sequence[StoredForecast]
    costs: CostsConfig
    tariff: Tariff
    spent: Spent
    usable: float
    disputed: float | None
    batch_images: int
    strategy: str
    model: ModelVersion | None
    is_measured: bool
    newer_labels: int
    open_batches: tuple[Batch, ...]
    gain: dict[str, Any] | None
    has_control: bool

    def measures(self, target: float) -> bool:
        """Whether the newest measurement is at the ``target``, a value in [0, 1], proven or not."""
        return bool(self.curve.points) and self.curve.points[-1].measured.value >= target

    @property
    def owned(self) -> int:
        """Training labels there are by now."""
        return self.states["training"]["labeled"]

    @property
    def left(self) -> int:
        """Usable labels that the pool can still give; answers that are on their way included."""
        training = self.states["training"]
        return math.floor((training["unlabeled"] + training["in flight"]) * self.usable + 1e-9)

    @property
    def batch(self) -> int:
        """Usable labels that a usual batch gives."""
        return max(math.floor(self.batch_images * self.usable + 1e-9), 1)

    def images(self, labels: int) -> int:
        """How many to hand out for so many usable labels."""
        return self.batch_images if labels == self.batch else math.ceil(labels / self.usable - 1e-9)

    @property
    def under_way(self) -> int:
        """Those of ``left`` whose batch is out: their votes are still to be paid, their round counts as spent."""
        return math.floor(self.states["training"]["in flight"] * self.usable + 1e-9)


def read(session: Session, metric: str, where: str) -> Situation:
    """Look at the workspace; ``metric`` by name, ``where`` it was named.

    Raises:
        UsageError, BadInputError: there is no such metric, or the configuration names classes that there are not.
    """
    config = session.config
    with session.database.read() as connection:
        names, spellings = classes.names(connection), classes.spellings(connection)
        costs = costs_today(config.costs, spellings, session.workspace.config_path)
        chosen = parse(metric, spellings, config.plan, where)
        states = catalog.count_states(connection)
        counts = ledger.class_counts(connection, "training")
        votes = spending.votes(connection)
        issued = batches.listing(connection)
        new = [batch for batch in issued if not batch.relabel]  # another look brings no label more
        counted_as = classes.counted_as(connection)
        _refuse_merged(chosen, counted_as, where)
        measured = measured_versions.measured(connection, matrices=chosen.costs is not None)
        model = versions.newest(connection)
        usable = _usable(states["training"])
        return Situation(
            classes=names,
            own_class=tuple(position == counted for position, counted in enumerate(counted_as)),
            states=states,
            class_labels={name: counts[position] for position, name in enumerate(names)},
            metric=chosen,
            measured=measured,
            curve=trajectory(measured, chosen, config.evaluation.confidence, classes.last_merge(connection)),
            stored=called_as_today(forecasts.listing(connection), spellings),
            costs=costs,
            tariff=tariff(costs, votes, usable),
            spent=spent(costs, votes, sum(batch.purpose == "training" and _was_used(batch) for batch in issued)),
            usable=usable,
            disputed=spending.disputed_share(connection),
            batch_images=config.query.budget or _usual_batch(new, states["training"], len(names)),
            strategy=config.query.cold_start if model is None else config.query.strategy,
            model=model,
            is_measured=model is not None and is_measured(connection, config, model),
            newer_labels=0 if model is None else versions.newer_labels(connection, model),
            open_batches=tuple(batch for batch in new if batch.open),
            gain=evaluations.newest_gain(connection),
            has_control=batches.any_control(connection),
        )


def _refuse_merged(metric: Metric, counted_as: Sequence[int], where: str) -> None:
    """A class that counts as another one has no recall any more."""
    if metric.position is None or counted_as[metric.position] == metric.position:
        return
    name, other = metric.classes[metric.position], metric.classes[counted_as[metric.position]]
    raise refusal(where, f"'{name}' was merged: it counts as '{other}' now", f"plan for recall:{other}")


def _usable(training: Mapping[str, int]) -> float:
    answered = training["labeled"] + training["disputed"] + training["skipped"]
    if answered < _FEWEST_ANSWERS or not training["labeled"]:
        return 1.0
    return training["labeled"] / answered


def _was_used(batch: Batch) -> bool:
    """One that was given back as it was handed out cost nobody a round."""
    return batch.released < batch.issued


def _usual_batch(issued: Sequence[Batch], training: Mapping[str, int], classes: int) -> int:
    """As large as the last one; without one, a part of the labels there are; without any, some of each class."""
    sizes = [batch.requested for batch in issued if batch.purpose == "training" and _was_used(batch)]
    first = _FIRST_OF_A_CLASS * max(classes, 1)
    return sizes[-1] if sizes else max(first, round(training["labeled"] * _USUAL_PART))
