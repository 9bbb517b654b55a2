"""How much a measured point of a curve strays from the curve, by itself."""

from __future__ import annotations

import numpy as np

from dalcli.forecasting.curves import Floats, Measurements

_SUPPOSED_EXAMPLES = 3000.0
"""Size of an evaluation set that nothing is known of; weighs as much as two points."""
_SUPPOSED_POINTS = 0.5


def binomial(value: Floats, evaluated: Floats | float) -> Floats:
    """Variance of a share measured on so many examples, never 0: two hits and two misses are added (Agresti)."""
    share = (value * evaluated + 2) / (evaluated + 4)
    return np.asarray(share * (1 - share) / (evaluated + 4), dtype=np.float64)


def strayed(known: Measurements) -> float:
    """Variance of single points around a smooth curve, from how far each lies from the line through its neighbours.

    Robust: the median of squares, so that one broken round among many does not count; in units of the metric squared.
    """
    position = np.log(known.labels)
    left, here, right = position[:-2], position[1:-1], position[2:]
    share = (here - left) / (right - left)
    off = known.value[1:-1] - (1 - share) * known.value[:-2] - share * known.value[2:]
    squares = off**2 / (1 + share**2 + (1 - share) ** 2)
    # Between the median (× 2.2 for a normal law) and the mean: with two squares neither is worth much.
    return float(0.5 * np.mean(squares) + 0.5 * min(np.median(squares) * 2.2, np.max(squares)))


def variances(known: Measurements) -> Floats:
    """Variance of each measurement: binomial where its evaluation set is known, and what training adds. [p]"""
    supposed = np.where(known.evaluated > 0, known.evaluated, _SUPPOSED_EXAMPLES)
    drawn = binomial(known.value, supposed)
    points = len(known.labels) - 2
    seen = strayed(known)
    expected = float(np.mean(drawn))
    pooled = (points * seen + _SUPPOSED_POINTS * expected) / (points + _SUPPOSED_POINTS)
    if bool(np.all(known.evaluated > 0)):
        return drawn + max(pooled - expected, 0)
    return drawn * (pooled / expected)
