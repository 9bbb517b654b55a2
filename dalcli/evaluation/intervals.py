"""How far a measured accuracy may be from the true one."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple


class Interval(NamedTuple):
    """Both ends of a confidence interval, and its level."""

    low: float
    high: float
    level: float


def wilson(successes: int, trials: int, level: float = 0.95) -> Interval:
    """Wilson score interval of a proportion, without continuity correction (Wilson, JASA 1927).

    Sensible where the textbook interval is not: few trials, and proportions at or near 0 and 1.

    Raises:
        ValueError: no trials, successes outside 0..trials, or level outside (0, 1).
    """
    if not 0 <= successes <= trials or trials == 0 or not 0 < level < 1:
        raise ValueError(f"no interval for {successes} of {trials} at level {level}")
    z = -NormalDist().inv_cdf((1 - level) / 2)  # the lower tail keeps its digits as level approaches 1
    rate, weight = successes / trials, z * z / trials
    centre = (rate + weight / 2) / (1 + weight)
    reach = z / (1 + weight) * math.sqrt(rate * (1 - rate) / trials + weight / (4 * trials))
    low = 0.0 if successes == 0 else max(0.0, centre - reach)
    high = 1.0 if successes == trials else min(1.0, centre + reach)
    return Interval(low, high, level)
