"""A forecast asked: what labels buy, what a target takes, what is best bought next."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from dalcli.config.planning import CostsConfig
from dalcli.forecasting.curves import Floats
from dalcli.forecasting.decisions import Prices, going_on_costs, order_costs, worth_going_on
from dalcli.forecasting.forecast import Forecast
from dalcli.planning.days import Pace, date_after
from dalcli.planning.metrics import Metric
from dalcli.planning.money import Tariff, rounds_for
from dalcli.planning.result import BandPoint, BatchOption, Decision, Purchase, Range, ToTarget

QUANTILES = (0.1, 0.5, 0.9)
_ALIKE = 0.01
"""Costs that differ by less than this part are alike: the draws know no better."""


@dataclass(frozen=True)
class Outlook:
    """A forecast with what surrounds it.

    Attributes:
        owned: training labels there are by now; what is bought comes on top. They may be fewer than were measured,
            where annotators have begun to differ since.
        left: usable labels that the pool can still give.
        batch: usable labels a round; the first ``under_way`` labels come from batches that are out.
        usable: share of images that give one.
        target: as a value in [0, 1]; None: there is none.
    """

    forecast: Forecast
    metric: Metric
    target: float | None
    owned: int
    left: int
    batch: int
    under_way: int
    usable: float
    tariff: Tariff
    costs: CostsConfig
    today: date

    @property
    def coming(self) -> int:
        """Training labels there will be once batches that are out have come back."""
        return self.owned + self.under_way

    @property
    def fresh(self) -> int:
        """Usable labels that further batches can give."""
        return self.left - self.under_way

    def band(self) -> tuple[BandPoint, ...]:
        """The whole forecast, up to the pool's end."""
        end = max(self.owned + self.left, int(self.forecast.sizes[0]))
        sizes = [int(size) for size in self.forecast.sizes if size < end] + [end]
        rows = np.array([np.quantile(self.forecast.column(size), QUANTILES) for size in sizes])
        rising = np.maximum.accumulate(rows, axis=0)  # interpolating may lose the last bit of a flat stretch
        return tuple(
            BandPoint(size, *sorted(self.metric.shown(float(value)) for value in row))
            for size, row in zip(sizes, rising, strict=True)
        )

    def purchase(self, more: int) -> Purchase:
        """What so many more labels buy."""
        column = self.forecast.column(self.owned + more)
        rounds, days = self.rounds(more), self._days(more)
        return Purchase(
            labels=more,
            value=shown_range(self.metric, column),
            reach=None if self.target is None else float((column >= self.target).mean()),
            rounds=rounds,
            money=self.money(more),
            days=days,
            date=self._date(days),
        )

    def rounds(self, more: int) -> int:
        """Batches still to be handed out for so many more labels."""
        return rounds_for(more, self.batch, self.under_way)

    def money(self, more: float) -> float | None:
        """What so many more labels cost, with the rounds that are not yet paid."""
        return None if math.isinf(more) else self.tariff.money(more, self.rounds(int(more)))

    def budgets(self) -> tuple[Purchase, ...]:
        """Some budgets: what is out, some batches more, and the rest of the pool."""
        batches = [self.under_way + self.batch * times for times in (1, 2, 4, 8)]
        sizes = {min(size, self.left) for size in (self.under_way, *batches, self.left)}
        return tuple(self.purchase(size) for size in sorted(sizes) if size > 0)

    def needed(self) -> Floats:
        """Labels in all at which each draw reaches the target; inf where the pool ends before. [n]"""
        assert self.target is not None
        found = self.forecast.labels_for(self.target)
        reached = np.where(found <= self.forecast.sizes[0], self.owned, found)  # by the model that was measured
        return np.where(reached <= self.owned + self.left, reached, np.inf)

    def to_target(self) -> ToTarget | None:
        """What the target takes."""
        if self.target is None:
            return None
        needed = self.needed()
        more = np.maximum(needed - self.owned, 0)
        labels = [float(np.quantile(more, each, method="higher")) for each in QUANTILES]
        days = [self._days(each) for each in labels]
        return ToTarget(
            target=self.metric.shown(self.target),
            batch=self.batch,
            chance=float(np.isfinite(needed).mean()),
            labels=Range(*(int(each) if math.isfinite(each) else None for each in labels)),
            money=Range(*(self.money(each) for each in labels)),
            days=Range(*days),
            date=Range(*(self._date(each) for each in days)),
        )

    def gain(self, more: int) -> Range[float]:
        """What a further batch adds, in points; in the metric's units where less is better."""
        scale = self.metric.highest if self.metric.less_is_better else 100.0
        return Range(*(scale * float(q) for q in self.forecast.gain(self.coming, self.coming + more, QUANTILES)))

    def decision(self, *, usual: bool = False) -> Decision | None:
        """Expected costs of stopping, of a further batch, of going on; what is out comes in either way.

        ``usual``: the usual batch is proposed, whatever others cost (where the target is measured, and the proof is
        what is missing).

        None where labels have no price, or nothing speaks for buying any: no penalty for missing a target and no worth
        of points.
        """
        penalty = 0.0 if self.target is None else self.costs.penalty_for_missing_target
        if self.tariff.per_label is None or not (penalty or self.costs.value_per_point):
            return None
        prices = Prices(
            label=self.tariff.per_label,
            round=self.tariff.per_round,
            penalty=penalty,
            # A point of `error` is a hundredth of its dearest answer inside, and 0.01 of its units outside.
            point=self.costs.value_per_point * self.metric.highest,
        )
        sizes = batch_sizes(self.batch, self.fresh)
        more = np.array([0, *sizes], dtype=np.float64)
        columns = np.stack([self.forecast.column(self.coming + int(each)) for each in more], axis=1)
        order = order_costs(columns, more, prices, self.target)
        if self.target is None:
            paired = zip(sizes, order[1:], strict=True)
            options = tuple(BatchOption(size, float(cost), None, None, None) for size, cost in paired)
        else:
            options = self._with_target(prices, sizes, order)
        stop = float(order[0])
        costs = {each.labels: each.order if each.go_on is None else each.go_on for each in options}
        batch = min(self.batch, self.fresh) if usual else self._chosen(costs)
        going_on = min(costs.values())
        worth = going_on < stop - 1e-9 if self.target is None else worth_going_on(going_on, stop)
        return Decision(stop, options, batch, batch if worth else 0)

    def _chosen(self, costs: Mapping[int, float]) -> int:
        """The size with the lowest cost; the usual one where that is next to it, or where rounds cost nothing."""
        usual = min(self.batch, self.fresh)
        best = min(costs, key=lambda size: (costs[size], abs(size - usual)))
        alike = costs[usual] - costs[best] <= _ALIKE * abs(costs[best])
        return usual if alike or (self.target is not None and not self.tariff.per_round) else best

    def _with_target(self, prices: Prices, sizes: Sequence[int], order: Floats) -> tuple[BatchOption, ...]:
        needed, limits = self.needed(), self._limits()
        worth = prices.point * 100 * self._gained(limits)
        options = []
        for size, cost in zip(sizes, order[1:], strict=True):
            going_on = going_on_costs(needed, limits, self.coming, size, prices) - worth
            lowest = int(going_on.argmin())
            options.append(
                BatchOption(size, float(cost), float(going_on[-1]), float(going_on[lowest]), int(limits[lowest]))
            )
        return tuple(options)

    def _gained(self, limits: Floats) -> Floats:
        """Expected rise of the metric, up to the target, until there are so many labels. [k]"""
        assert self.target is not None
        before = np.minimum(self.forecast.column(self.coming), self.target)
        after = [np.minimum(self.forecast.column(int(limit)), self.target) for limit in limits]
        return np.array([float((each - before).mean()) for each in after])

    def _limits(self) -> Floats:
        end = self.owned + self.left
        inside = [float(size) for size in self.forecast.sizes if self.coming < size < end]
        return np.array([*inside, float(end)])

    def _days(self, more: float) -> float | None:
        if self.costs.labels_per_day is None or math.isinf(more):
            return None
        pace = Pace(self.costs.labels_per_day * self.usable, self.costs.days_per_round)
        return pace.days(more, self.batch, self.under_way)

    def _date(self, days: float | None) -> str | None:
        found = None if days is None else date_after(self.today, days, self.costs.working_days)
        return None if found is None else found.isoformat()


def batch_sizes(usual: int, left: int) -> tuple[int, ...]:
    """Batches worth comparing: the usual one, halves and doubles of it, and all that is left."""
    sizes = {math.ceil(usual * factor) for factor in (0.25, 0.5, 1, 2, 4, 8)}
    return tuple(sorted({min(size, left) for size in sizes if min(size, left) > 0}))


def shown_range(metric: Metric, column: Floats) -> Range[float]:
    """Quantiles in the metric's units, lowest first."""
    return Range(*sorted(metric.shown(float(each)) for each in np.quantile(column, QUANTILES)))


def cheapest(options: Sequence[int], cost: Callable[[int], float | None]) -> tuple[int, float] | None:
    """The option that costs least, and what; None where none has a cost."""
    costs = [(found, each) for each in options if (found := cost(each)) is not None]
    return None if not costs else (min(costs)[1], min(costs)[0])
