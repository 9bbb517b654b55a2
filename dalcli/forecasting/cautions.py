"""Why a forecast is to be taken with care, as sentences for people."""

from __future__ import annotations

import math

import numpy as np

from dalcli.forecasting.curves import Curve, Measurements
from dalcli.forecasting.noise import binomial, supposed

FAR = 4
"""Beyond so many times today's labels a forecast is a guess: few public curves kept to it."""
_FEW = 6
_SURELY = 3.0
"""Standard deviations from which on a bend is no noise."""


def cautions(curve: Curve, known: Measurements, horizon: int, noise: float) -> tuple[str, ...]:
    """What is unusual about a curve or asked too much of it; empty where nothing is.

    Args:
        curve: As handed over.
        known: Its measurements.
        horizon: Labels up to which is looked.
        noise: Standard deviation of a measurement today.
    """
    found = []
    today, points = int(known.labels[-1]), len(known.labels)
    if horizon > FAR * today:
        found.append(
            f"beyond {FAR * today:,} labels, {FAR} times today's, the curve goes too far from what was measured: "
            "read that part as a range"
        )
    if points < _FEW:
        found.append(f"{points} measured sizes say little about where the curve bends: {_FEW} or more narrow the range")
    if _speeds_up(known):
        found.append(
            "the curve is still speeding up: the laws behind the forecast only slow down, so it may be too low by far"
        )
    best = float(known.value.max())
    if best - known.value[-1] > 2 * noise:
        found.append(
            f"the curve fell: {best:.1%} was measured before, {known.value[-1]:.1%} now; forecasts take that for noise "
            "and may be too high"
        )
    strategies = sorted({point.strategy for point in curve.points if point.strategy})
    if len(strategies) > 1:
        found.append(
            f"the labels were chosen in different ways ({', '.join(strategies)}): the curve may change its law"
        )
    if bool((known.evaluated == 0).any()):
        found.append("the size of an evaluation set is unknown: its noise is guessed from how the points scatter")
    return tuple(found)


def _speeds_up(known: Measurements) -> bool:
    """Whether the curve rose more over the later half of the way, in the logarithm of labels, than over the earlier.

    By more than the chance of the examples in the three measurements that say so: the scatter of points around straight
    lines would not do, for a bend makes it.
    """
    position = np.log(known.labels)
    middle = int(np.argmin(np.abs(position - (position[0] + position[-1]) / 2)))
    middle = min(max(middle, 1), len(position) - 2)
    way = (position[middle] - position[0], position[-1] - position[middle])
    risen = (known.value[middle] - known.value[0], known.value[-1] - known.value[middle])
    slopes = risen[0] / way[0], risen[1] / way[1]
    noise = math.sqrt(float(np.max(binomial(known.value, supposed(known)))))
    deviation = noise * math.sqrt((1 / way[0]) ** 2 + (1 / way[0] + 1 / way[1]) ** 2 + (1 / way[1]) ** 2)
    return bool(slopes[1] - slopes[0] > _SURELY * deviation)
