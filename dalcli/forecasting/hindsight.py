"""What the same forecast, made at earlier points of a curve, would have been off by.

It is made anew, whether somebody asked then or not: so what a curve teaches does not depend on who looked at it when.
"""

from __future__ import annotations

import numpy as np

from dalcli.forecasting.calibration import Calibrated, Table, calibrated
from dalcli.forecasting.curves import FEWEST_SIZES, Floats, Measurements
from dalcli.forecasting.ensemble import ensemble

FAR = 4.0
"""Errors farther ahead than so many times the labels of then are not asked for."""
ORIGINS = 8
"""Earlier points that are asked: the latest ones."""
_LEAST = 4e-4
"""Standard deviations are no smaller: measurements are not that fine."""


def own_errors(known: Measurements, floor: float, table: Table, generator: np.random.Generator) -> Floats:
    """Errors of forecasts made at earlier points, against every point since, in their standard deviations. [e]"""
    points = len(known.labels)
    found = [np.zeros(0)]
    for origin in range(max(FEWEST_SIZES, points - ORIGINS), points):
        early = Measurements(known.labels[:origin], known.value[:origin], known.evaluated[:origin])
        sizes = known.labels[origin - 1 :]
        sizes = sizes[sizes <= FAR * sizes[0]]
        made = ensemble(early, sizes, floor, generator)
        said = calibrated(made, sizes / sizes[0], early, table)
        found.append(standardised(said, known.value[origin:]))
    return np.concatenate(found)


def standardised(said: Calibrated, measured: Floats) -> Floats:
    """How far what was measured at the sizes behind the first lies from the middle; only as far as was asked. [k]"""
    came = measured[: len(said.median) - 1]
    return np.asarray((came - said.median[1:]) / np.maximum(said.deviation[1:], _LEAST), dtype=np.float64)
