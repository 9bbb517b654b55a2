"""Exact tails of the binomial and the hypergeometric law, and the bounds that they give.

Sums of the probabilities themselves, each from the one before: no approximation, and no library beyond numpy. A test
holds them against scipy.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_HALVINGS = 60


def binomial_tail(successes: int, trials: int, rate: float) -> float:
    """P(X ≤ ``successes``) for X ~ Binomial(``trials``, ``rate``)."""
    if successes >= trials or rate <= 0:
        return 1.0
    if successes < 0 or rate >= 1:
        return 0.0
    i = np.arange(successes, dtype=np.float64)
    steps = np.log((trials - i) / (i + 1)) + math.log(rate) - math.log1p(-rate)
    return _sum(trials * math.log1p(-rate), steps)


def hypergeometric_tail(successes: int, population: int, marked: int, drawn: int) -> float:
    """P(X ≤ ``successes``): X of the ``drawn`` ones are among the ``marked`` ones of ``population``."""
    least = max(0, drawn + marked - population)
    if successes >= min(drawn, marked):
        return 1.0
    if successes < least:
        return 0.0
    i = np.arange(least, successes, dtype=np.float64)
    steps = np.log((marked - i) * (drawn - i)) - np.log((i + 1) * (population - marked - drawn + i + 1))
    first = _choose(marked, least) + _choose(population - marked, drawn - least) - _choose(population, drawn)
    return _sum(first, steps)


def clopper_pearson_upper(successes: int, trials: int, miss: float) -> float:
    """The rate that the true one exceeds with probability ``miss`` at most (Clopper and Pearson, Biometrika 1934).

    The rate at which so few successes or fewer have a chance of ``miss``.

    Raises:
        ValueError: no trials, successes outside 0..trials, or ``miss`` outside (0, 1).
    """
    if not 0 <= successes <= trials or trials == 0 or not 0 < miss < 1:
        raise ValueError(f"no bound for {successes} of {trials} at {miss}")
    if successes == trials:
        return 1.0
    low, high = successes / trials, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if binomial_tail(successes, trials, middle) > miss else (low, middle)
    return high


def unseen_upper(successes: int, drawn: int, unseen: int, miss: float) -> int:
    """The number that the successes among ``unseen`` ones exceed with probability ``miss`` at most.

    ``drawn`` ones, ``successes`` of them, were drawn at random from all ``drawn + unseen``: the exact counterpart of
    :func:`clopper_pearson_upper` for one finite population.
    """
    low, high = -1, unseen  # so many are compatible with what was seen; so many are the bound
    while high - low > 1:
        middle = (low + high) // 2
        more = hypergeometric_tail(successes, drawn + unseen, successes + middle + 1, drawn)
        low, high = (low, middle) if more <= miss else (middle, high)
    return high


def _sum(first: float, steps: NDArray[np.float64]) -> float:
    """Σ exp of the partial sums of ``first`` and ``steps``."""
    logs = np.concatenate([[first], first + np.cumsum(steps)])
    top = float(logs.max())
    return min(1.0, math.exp(top) * float(np.exp(logs - top).sum()))


def _choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
