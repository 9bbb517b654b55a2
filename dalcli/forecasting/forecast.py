"""The forecast of a learning curve: many possible futures of the true metric, calibrated on public trajectories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dalcli.forecasting.curves import Curve, Floats, PastError, measurements
from dalcli.forecasting.ensemble import ensemble

FAR = 4.0
"""Beyond so many times today's labels a forecast is a guess (docs/planning.md)."""
_GRID = 40


@dataclass(frozen=True)
class Forecast:
    """Possible futures of the true metric.

    Attributes:
        sizes: Labels, spaced evenly in the logarithm from today's to the horizon, both included; int64. [m]
        draws: Each row one possible future: never falling, within chance and 1. [n, m]
        today: The true value at today's labels in each; the first column of `draws`. [n]
        ceiling: What each future tends to. [n]
        cautions: Why it is to be taken with care, as sentences for people.
        families: Weight of each law, summing to 1.
    """

    sizes: NDArray[np.int64]
    draws: Floats
    today: Floats
    ceiling: Floats
    cautions: tuple[str, ...]
    families: Mapping[str, float]

    def at(self, labels: int, quantiles: Sequence[float] | Floats) -> Floats:
        """The true metric's quantiles after so many labels, which are clipped to between today's and the horizon. [q]"""
        return np.asarray(np.quantile(self.column(labels), quantiles), dtype=np.float64)

    def column(self, labels: int) -> Floats:
        """Every draw's true metric after so many labels, interpolated in their logarithm. [n]"""
        position = np.log(np.clip(float(labels), self.sizes[0], self.sizes[-1]))
        places = np.log(self.sizes.astype(np.float64))
        right = int(np.clip(np.searchsorted(places, position), 1, max(len(places) - 1, 1)))
        if len(places) == 1:
            return self.draws[:, 0]
        share = (position - places[right - 1]) / (places[right] - places[right - 1])
        return (1 - share) * self.draws[:, right - 1] + share * self.draws[:, right]

    def labels_for(self, target: float) -> Floats:
        """Total labels at which each draw reaches the target; today's where it has, inf where not within the horizon. [n]"""
        reached = self.draws >= target
        first = reached.argmax(1)
        rows = np.arange(len(self.draws))
        high, low = self.draws[rows, first], self.draws[rows, np.maximum(first - 1, 0)]
        rise = np.where(high > low, high - low, 1.0)
        share = np.where(first > 0, np.clip((target - low) / rise, 0, 1), 0.0)
        places = np.log(self.sizes.astype(np.float64))
        labels = np.exp((1 - share) * places[np.maximum(first - 1, 0)] + share * places[first])
        return np.where(reached.any(1), np.ceil(labels - 1e-6), np.inf)


def forecast(curve: Curve, *, horizon: int, seed: int, draws: int = 1000, past: Sequence[PastError] = ()) -> Forecast:
    """Say where a learning curve may go.

    Args:
        curve: Measured points of one kind.
        horizon: Labels up to which to look; today's where it is below them.
        seed: The same seed gives the same draws.
        draws: Possible futures to return.
        past: This workspace's own earlier forecasts and what came of them; they move and widen the calibration.

    Raises:
        NotEnoughPoints: Fewer than four distinct sizes.
    """
    known = measurements(curve)
    today = int(known.labels[-1])
    sizes = np.unique(np.rint(np.geomspace(today, max(horizon, today), _GRID)).astype(np.int64))
    generator = np.random.default_rng(seed)
    made = ensemble(known, sizes.astype(np.float64), curve.chance, generator)
    pick = generator.integers(0, len(made.curves), draws)
    futures = np.maximum.accumulate(np.clip(made.curves[pick], curve.chance, 1), 1)
    ceiling = np.maximum(np.clip(made.ceiling[pick], curve.chance, 1), futures[:, -1])
    return Forecast(sizes, futures, futures[:, 0], ceiling, (), made.families)
