"""Quantiles of Student's t, without scipy."""

from __future__ import annotations

import math
from functools import lru_cache

_BISECTIONS = 200


def normal_cdf(x: float) -> float:
    """P(Z ≤ x) of the standard normal distribution."""
    return 0.5 * math.erfc(-x / math.sqrt(2.0))


def t_cdf(x: float, degrees: int) -> float:
    """P(T ≤ x) of Student's t with a whole number of degrees of freedom (Abramowitz & Stegun 26.7.3 and 26.7.4)."""
    angle = math.atan2(x, math.sqrt(degrees))
    cosine2 = degrees / (degrees + x * x)
    if degrees % 2:
        term, total = math.cos(angle), 0.0
        for k in range(1, degrees - 1, 2):
            total += term
            term *= cosine2 * (k + 1) / (k + 2)
        inside = 2 / math.pi * (angle + math.sin(angle) * total)
    else:
        term, total = 1.0, 0.0
        for k in range(0, degrees - 1, 2):
            total += term
            term *= cosine2 * (k + 1) / (k + 2)
        inside = math.sin(angle) * total
    return 0.5 + inside / 2


@lru_cache(maxsize=256)
def t_quantile(probability: float, degrees: int) -> float:
    """The x with P(T ≤ x) = ``probability``, for 0.5 ≤ probability < 1, by bisection."""
    if not 0.5 <= probability < 1 or degrees < 1:
        raise ValueError(f"probability {probability} or degrees of freedom {degrees} out of range")
    low, high = 0.0, 1.0
    while t_cdf(high, degrees) < probability:
        high *= 2
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if t_cdf(middle, degrees) < probability else (low, middle)
    return high
