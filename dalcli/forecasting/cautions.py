"""Why a forecast is to be taken with care, as sentences for people."""

from __future__ import annotations

from dalcli.forecasting.curves import Curve, Measurements

FAR = 4
"""Beyond so many times today's labels a forecast is a guess: few public curves kept to it."""
_FEW = 6


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
            f"beyond {FAR * today} labels, {FAR} times today's, the curve goes too far from what was measured: "
            "read that part as a range"
        )
    if points < _FEW:
        found.append(f"{points} measured sizes say little about where the curve bends: {_FEW} or more narrow the range")
    best = float(known.value.max())
    if best - known.value[-1] > 2 * noise:
        found.append(
            f"the curve fell: {best:.1%} was measured before, {known.value[-1]:.1%} now; forecasts take that for noise"
        )
    strategies = sorted({point.strategy for point in curve.points if point.strategy})
    if len(strategies) > 1:
        found.append(
            f"the labels were chosen in different ways ({', '.join(strategies)}): the curve may change its law"
        )
    if bool((known.evaluated == 0).any()):
        found.append("the size of an evaluation set is unknown: its noise is guessed from how the points scatter")
    return tuple(found)
