"""Bootstrap intervals over a handful of seeds, without pretending that a handful is many.

Resampling n values reaches no further than their range, and the range of n independent values covers their median with
probability 1 − 2^(1−n) only: 75% for three seeds. So few seeds give a widened interval, still at most the range; fewer
than three give none. :func:`attainable_level` says what can be hoped for.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations_with_replacement
from math import factorial, prod

import numpy as np

from dalcli.config.hashing import generator
from dalcli.scores.columns import Floats
from dalcli.simulation.statistics.student import normal_cdf, t_quantile

FEWEST = 3  # values that give an interval
EXACT_UPTO = 6  # values of which all resamples are enumerated: 462 different ones
RESAMPLES = 10_000


def attainable_level(count: int) -> float:
    """The probability that the range of ``count`` independent values holds their distribution's median."""
    return 1.0 - 2.0 ** (1 - count) if count > 0 else 0.0


@lru_cache(maxsize=32)
def weights(count: int) -> tuple[Floats, Floats]:
    """Resamples of ``count`` values: (m, count) mean weights, and the (m,) probability of each, summing to 1.

    All of them up to :data:`EXACT_UPTO` values, :data:`RESAMPLES` random ones (always the same) beyond.
    """
    if count <= EXACT_UPTO:
        picks = combinations_with_replacement(range(count), count)
        times = np.array([np.bincount(pick, minlength=count) for pick in picks], dtype=np.float64)
        ways = np.array([factorial(count) / prod(factorial(int(t)) for t in row) for row in times])
        return times / count, ways / ways.sum()
    drawn = generator(count, "bootstrap").multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    return drawn / count, np.full(RESAMPLES, 1 / RESAMPLES)


def tails(level: float, count: int) -> tuple[float, float]:
    """The quantiles of the bootstrap distribution of a mean that bound an interval at ``level``.

    Hesterberg's expanded percentile interval (What Teachers Should Know about the Bootstrap, 2015): the bootstrap's
    spread is too small by (n−1)/n, and takes the normal's tails where t's with n−1 degrees of freedom belong.
    """
    widened = np.sqrt(count / (count - 1)) * t_quantile((1 + level) / 2, count - 1)
    tail = normal_cdf(-float(widened))
    return tail, 1 - tail


def quantile(values: Floats, probabilities: Floats, wanted: float) -> float:
    """The smallest value whose cumulative probability reaches ``wanted``; ``values`` may hold inf, not NaN."""
    order = np.argsort(values, kind="stable")
    cumulated = np.cumsum(probabilities[order])
    place = int(np.searchsorted(cumulated, wanted - 1e-12))
    return float(values[order[min(place, len(order) - 1)]])


def mean_interval(values: Floats, level: float) -> tuple[float, float] | None:
    """Bounds of the mean of ``values`` (n,); None for fewer than :data:`FEWEST`."""
    if len(values) < FEWEST:
        return None
    matrix, probabilities = weights(len(values))
    return statistic_interval(matrix @ values, probabilities, level, len(values))


def statistic_interval(resampled: Floats, probabilities: Floats, level: float, count: int) -> tuple[float, float]:
    """Bounds from the bootstrap distribution of a statistic of ``count`` values."""
    low, high = tails(level, count)
    return quantile(resampled, probabilities, low), quantile(resampled, probabilities, high)
