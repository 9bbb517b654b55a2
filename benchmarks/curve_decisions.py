"""Spending on public trajectories: the forecast's decisions beside rules of thumb. Not a benchmark itself.

The target is a share of today's error; a label's price is such that labeling the whole trajectory costs 1; a target
that is missed costs the penalty. What was measured decides. *Ordering* chooses once, at every prefix, how many labels
to buy. *Going on* starts at four points, looks after every later size, and stops when the target was measured or when
it gives up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from curve_backtests import SEED, Backtest
from numpy.typing import NDArray

from dalcli.forecasting.curves import Floats
from dalcli.forecasting.decisions import Prices, going_on_costs, order_costs, worth_going_on
from dalcli.forecasting.families import FAMILIES
from dalcli.forecasting.forecast import Forecast

ERRORS_LEFT = (0.95, 0.9, 0.8, 0.65)
"""Targets: so much of today's error is left."""
PENALTIES = (0.5, 1.0, 2.0, 4.0)
"""In units of what labeling everything costs."""
OURS, STOP, EVERYTHING, UNTIL = "forecast", "always stop", "label everything", "go on until reached"


def _slope(test: Backtest) -> Floats:
    labels, value = test.known.labels, test.known.value
    rise = max((value[-1] - value[-2]) / (labels[-1] - labels[-2]), 0)
    return np.minimum(value[-1] + rise * (test.sizes - labels[-1]), 1)


THUMBS = {
    "last value": lambda test: np.full(len(test.sizes), test.last),
    "last slope": _slope,
    "POW2": lambda test: test.made.laws[list(FAMILIES).index("POW2")],
    "POW3": lambda test: test.made.laws[list(FAMILIES).index("POW3")],
}
"""Rules that believe one curve: its values at today's size and the later ones. [1 + k]"""
ORDERING = (OURS, *THUMBS, STOP, EVERYTHING)
GOING_ON = (*ORDERING, UNTIL)


def ordering(test: Backtest, forecast: Forecast) -> Floats:
    """Cost of one order at one prefix by every rule of `ORDERING`. [targets, penalties, rules]"""
    sizes = test.sizes.astype(np.float64)
    more = (sizes - sizes[0]) / (sizes[-1] - sizes[0])
    measured = np.append(test.last, test.later)
    values = _measured(test, forecast)
    costs = np.full((len(ERRORS_LEFT), len(PENALTIES), len(ORDERING)), np.nan)
    for row, target in enumerate(targets(test)):
        if test.last >= target:
            continue
        thumbs = [_first(curve(test), target) for curve in THUMBS.values()]
        for column, penalty in enumerate(PENALTIES):
            ours = int(order_costs(values, more, Prices(1.0, penalty=penalty), target).argmin())
            bought = [ours, *(size if size is not None and more[size] < penalty else 0 for size in thumbs), 0, -1]
            costs[row, column] = more[bought] + penalty * (measured[bought] < target)
    return costs


def going_on(tests: Sequence[Backtest], forecasts: Sequence[Forecast]) -> Floats:
    """Cost of going on from the first prefix by every rule of `GOING_ON`. [targets, penalties, rules]"""
    sizes = tests[0].sizes.astype(np.float64)
    measured = np.append(tests[0].last, tests[0].later)
    price = 1 / (sizes[-1] - sizes[0])
    costs = np.full((len(ERRORS_LEFT), len(PENALTIES), len(GOING_ON)), np.nan)
    for row, target in enumerate(targets(tests[0])):
        if tests[0].last >= target:
            continue
        needed = [_needed(test, forecast, target) for test, forecast in zip(tests, forecasts, strict=True)]
        thumbs = [[_first(curve(test), target) for curve in THUMBS.values()] for test in tests]
        reached = np.append(measured >= target, True).argmax()
        end = min(int(reached), len(tests))
        for column, penalty in enumerate(PENALTIES):
            prices = Prices(price, penalty=penalty)
            stops = [_stops((_worth(*pair, prices) for pair in zip(tests, needed, strict=True)), end)]
            for rule in range(len(THUMBS)):
                believed = ((test.sizes, sizes_of[rule]) for test, sizes_of in zip(tests, thumbs, strict=True))
                stops.append(_stops((_believed(*pair, price, penalty) for pair in believed), end))
            stops += [0, len(tests), end]
            costs[row, column] = price * (sizes[stops] - sizes[0]) + penalty * (measured[stops] < target)
    return costs


def _measured(test: Backtest, forecast: Forecast) -> Floats:
    """What would be measured in every draw; today's is known. [n, 1 + k]"""
    noise = np.random.default_rng(SEED).standard_normal(forecast.shown.shape) * forecast.noise
    values = np.clip(forecast.shown + noise, 0, 1)
    values[:, 0] = test.last
    return values


def _needed(test: Backtest, forecast: Forecast, target: float) -> Floats:
    """Labels at which each draw is first measured to have reached the target, inf where it is not. [n]"""
    reached = _measured(test, forecast) >= target
    return np.where(reached.any(1), test.sizes[reached.argmax(1)].astype(np.float64), np.inf)


def targets(test: Backtest) -> list[float]:
    """Accuracies to be reached."""
    return [1 - (1 - test.last) * left for left in ERRORS_LEFT]


def _first(curve: Floats, target: float) -> int | None:
    """The first later size at which a curve has reached the target."""
    there = np.flatnonzero(curve[1:] >= target)
    return int(there[0]) + 1 if len(there) else None


def _worth(test: Backtest, needed: Floats, prices: Prices) -> bool:
    """Whether going on is expected to cost less than stopping, by the forecast."""
    sizes = test.sizes.astype(np.float64)
    costs = going_on_costs(needed, sizes, sizes[0], sizes[1] - sizes[0], prices)
    return worth_going_on(float(costs[1:].min()), float(costs[0]))


def _believed(sizes: NDArray[np.int64], reached: int | None, price: float, penalty: float) -> bool:
    """Whether the believed curve reaches the target for less than the penalty."""
    return reached is not None and (sizes[reached] - sizes[0]) * price < penalty


def _stops(goes_on: Iterable[bool], end: int) -> int:
    """The step at which a rule stops: where it wants to, or where the target was measured or nothing is left."""
    return next((step for step, wanted in zip(range(end), goes_on, strict=False) if not wanted), end)
