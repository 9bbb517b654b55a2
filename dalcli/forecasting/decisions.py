"""What a number of labels is expected to cost, over a forecast's draws: arrays in, arrays out.

Two ways of spending. *Ordering* buys a fixed number of labels now, whatever they bring. *Going on* buys in batches,
looks after each, and stops where the target is reached or at a limit; so it pays for the labels that a draw needs, not
for the limit. Money in one currency; a missed target costs the penalty once, a point of the metric is 0.01.
(Mahmood et al., *Optimizing Data Collection for Machine Learning*, NeurIPS 2022, minimise the same sum.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dalcli.forecasting.curves import Floats


@dataclass(frozen=True)
class Prices:
    """What spending and missing cost.

    Attributes:
        label: A label's price, all votes together.
        round: Fixed cost of a round: setting up, training, somebody's hour.
        penalty: Lost once where the target is missed.
        point: Worth of a point (0.01) of the metric, from today's value on and, where there is a target, up to it.
    """

    label: float
    round: float = 0.0
    penalty: float = 0.0
    point: float = 0.0


_LOOKING_AGAIN = 0.02
"""Part of the cost of stopping that looking again after a batch is supposed to be worth."""


def worth_going_on(going_on: float, stopping: float) -> bool:
    """Whether to go on, where either is expected to cost so much.

    The costs of going on know when draws reach the target, and not that the next measurement will tell more about which
    draw it is: whoever looks again may stop then. On public curves a small part for that saves 3% of all costs
    (`benchmarks/forecasts.py`); a large one wastes more.
    """
    return going_on < stopping + _LOOKING_AGAIN * abs(stopping) - 1e-9


def order_costs(values: Floats, more: Floats, prices: Prices, target: float | None = None) -> Floats:
    """Expected cost of ordering each number of labels in one round, and of stopping.

    Args:
        values: The metric after each order, in every draw. [n, k]
        more: Labels to order on top of today's, from 0 (stopping) upwards. [k]
        prices: Their price.
        target: What is to be reached; without one only points count.

    Returns:
        Expected cost, less what the points gained over the first column are worth. [k]
    """
    more = np.asarray(more, dtype=np.float64)
    spent = prices.label * more + prices.round * (more > 0)
    missed = np.zeros(len(more)) if target is None else np.mean(values < target, axis=0)
    counted = values if target is None else np.minimum(values, target)
    gained = 100 * np.mean(counted - counted[:, :1], axis=0)
    return np.asarray(spent + prices.penalty * missed - prices.point * gained, dtype=np.float64)


def going_on_costs(needed: Floats, limits: Floats, today: float, batch: float, prices: Prices) -> Floats:
    """Expected cost of going on batch by batch until the target is reached, giving up at each limit.

    Args:
        needed: Total labels at which each draw reaches the target, inf where it does not. [n]
        limits: Total labels at which one would give up; today's is stopping now. [k]
        today: Labels there are.
        batch: Labels a round; the last round may be smaller.
        prices: Their price; `point` does not count here.

    Returns:
        Expected cost. [k]
    """
    limits = np.asarray(limits, dtype=np.float64)
    missed = needed[:, None] > limits
    # A batch is bought whole: the target is seen at the end of the round that reaches it.
    rounds = np.ceil(np.maximum(np.minimum(needed[:, None], limits) - today, 0) / batch - 1e-9)
    bought = np.minimum(rounds * batch, np.maximum(limits - today, 0))
    cost = prices.label * bought + prices.round * rounds + prices.penalty * missed
    return np.asarray(cost.mean(axis=0), dtype=np.float64)
