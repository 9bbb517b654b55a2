"""The forecast of a learning curve: many possible futures of the true metric, calibrated on public trajectories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from dalcli.forecasting.calibration import Calibrated, Table, calibrated, packaged
from dalcli.forecasting.cautions import cautions
from dalcli.forecasting.curves import Curve, Floats, Measurements, PastError, measurements
from dalcli.forecasting.ensemble import Ensemble, ensemble
from dalcli.forecasting.noise import binomial

_GRID = 40
_LEAST_TRUE = 0.25
"""At least so much of the variance of what will be measured is taken for the true metric's, not for measuring."""


@dataclass(frozen=True)
class Forecast:
    """Possible futures of the true metric: what an endless evaluation set would say.

    Attributes:
        sizes: Labels, spaced evenly in the logarithm from today's to the horizon, both included; int64. [m]
        draws: Each row one possible future: never falling, within chance and 1. [n, m]
        today: The true value at today's labels in each: the first column of `draws`. [n]
        ceiling: What each future tends to. [n]
        cautions: Why it is to be taken with care, as sentences for people.
        families: Weight of each law, summing to 1.
        noise: Standard deviation of measuring once at each size, from evaluation and training. [m]
        evaluated: Examples that today's measurement was made on; 0 where that is unknown.
    """

    sizes: NDArray[np.int64]
    draws: Floats
    today: Floats
    ceiling: Floats
    cautions: tuple[str, ...]
    families: Mapping[str, float]
    noise: Floats
    evaluated: float

    def at(self, labels: int, quantiles: Sequence[float] | Floats) -> Floats:
        """Quantiles of the true metric after so many labels, clipped to between today's and the horizon. [q]"""
        return np.asarray(np.quantile(self.column(labels), quantiles), dtype=np.float64)

    def measured_at(self, labels: int, quantiles: Sequence[float] | Floats, evaluated: int = 0) -> Floats:
        """Quantiles of what will be *measured* after so many labels: the true metric and the noise of measuring. [q]

        Args:
            labels: As for `at`.
            quantiles: Levels.
            evaluated: Size of the set it will be measured on; 0: as today's measurement.
        """
        left, right, share = self._between(labels)
        true = self.column(labels)
        variance = (1 - share) * self.noise[left] ** 2 + share * self.noise[right] ** 2
        if evaluated > 0:
            center = float(np.median(true))
            known = float(binomial(np.array(center), self.evaluated)) if self.evaluated else variance
            variance = max(variance - known, 0.0) + float(binomial(np.array(center), evaluated))
        # Every draw with a level of the noise and its opposite; the levels are spread over the draws evenly.
        ranks = np.argsort(np.argsort(true, kind="stable"), kind="stable")
        levels = _NORMAL[(ranks * 389) % len(_NORMAL)]
        strayed = np.clip(true[:, None] + np.sqrt(variance) * np.stack([levels, -levels], 1), 0, 1)
        return np.asarray(np.quantile(strayed, quantiles), dtype=np.float64)

    def column(self, labels: int) -> Floats:
        """Every draw's true metric after so many labels, interpolated in their logarithm. [n]"""
        left, right, share = self._between(labels)
        return np.asarray((1 - share) * self.draws[:, left] + share * self.draws[:, right], dtype=np.float64)

    def labels_for(self, target: float) -> Floats:
        """Total labels with which each draw reaches the target: today's where it has, inf where none do. [n]"""
        reached = self.draws >= target
        first = reached.argmax(1)
        before = np.maximum(first - 1, 0)
        rows = np.arange(len(self.draws))
        high, low = self.draws[rows, first], self.draws[rows, before]
        share = np.where(first > 0, np.clip((target - low) / np.where(high > low, high - low, 1), 0, 1), 1)
        places = np.log(self.sizes.astype(np.float64))
        labels = np.ceil(np.exp((1 - share) * places[before] + share * places[first]) - 1e-6)
        return np.where(reached.any(1), labels, np.inf)

    def _between(self, labels: int) -> tuple[int, int, float]:
        """The columns on both sides of a size, and how far it is from the left one, in the logarithm."""
        wanted = min(max(int(labels), int(self.sizes[0])), int(self.sizes[-1]))
        right = int(np.searchsorted(self.sizes, wanted))
        if self.sizes[right] == wanted:
            return right, right, 0.0
        low, high = float(self.sizes[right - 1]), float(self.sizes[right])
        return right - 1, right, float(np.log(wanted / low) / np.log(high / low))


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
        ValueError: A point that cannot be: a value outside [0, 1], or no labels.
    """
    known = measurements(curve)
    today = int(known.labels[-1])
    horizon = max(horizon, today)
    sizes = np.unique(np.rint(np.geomspace(today, horizon, _GRID)).astype(np.int64))
    generator = np.random.default_rng(seed)
    made = ensemble(known, sizes.astype(np.float64), curve.chance, generator)
    notes = cautions(curve, known, horizon, made.noise)
    return futures(known, sizes, made, packaged(), past, curve.chance, draws, generator, notes)


def futures(
    known: Measurements,
    sizes: NDArray[np.int64],
    made: Ensemble,
    table: Table,
    past: Sequence[PastError],
    chance: float,
    draws: int,
    generator: np.random.Generator,
    notes: tuple[str, ...],
) -> Forecast:
    """Draw futures from an ensemble and a calibration table; what `forecast` does with the packaged table.

    A future keeps its level: one that is at the tenth percentile today is there at the horizon too. So the share of
    futures that have reached a target with so many labels is the chance of having reached it with them.
    """
    last, points = float(known.value[-1]), len(known.labels)
    factors = sizes / sizes[0]
    measured = calibrated(made, factors, last, points, known.labels[-1] / known.labels[0], table, past)
    levels = (generator.permutation(draws) + 0.5) / draws
    true, noise = _true(measured, made)
    columns = np.stack([np.interp(levels, measured.levels, row) for row in true], axis=1)
    columns = np.clip(np.maximum.accumulate(columns, axis=1), chance, 1)
    ceiling = np.maximum(np.clip(_ceilings(made, levels), chance, 1), columns[:, -1])
    return Forecast(sizes, columns, columns[:, 0], ceiling, notes, made.families, noise, float(known.evaluated[-1]))


def _true(measured: Calibrated, made: Ensemble) -> tuple[Floats, Floats]:
    """Take measuring out of what will be measured: quantiles of the true metric [m, q] and the noise left out [m]."""
    deviation = measured.deviation
    kept = np.sqrt(np.maximum(1 - (made.noise / deviation) ** 2, _LEAST_TRUE))
    true = measured.median[:, None] + kept[:, None] * (measured.quantiles - measured.median[:, None])
    # Today nothing is to come: what is not known is what one measurement and the laws through all of them leave open.
    open_today = np.clip(made.spread[0], 0.4 * made.noise, made.noise)
    true[0] = measured.median[0] + open_today * np.interp(measured.levels, _LEVELS, _NORMAL)
    return true, deviation * np.sqrt(1 - kept**2)


def _ceilings(made: Ensemble, levels: Floats) -> Floats:
    """Quantiles of what the laws tend to, each copy with its law's weight. [n]"""
    values = made.ceilings.ravel()
    order = values.argsort()
    share = np.repeat(made.weights / made.ceilings.shape[1], made.ceilings.shape[1])[order]
    return np.interp(levels, np.cumsum(share) - share / 2, values[order])


def _normal_quantiles(levels: Floats) -> Floats:
    return np.array([NormalDist().inv_cdf(level) for level in levels], dtype=np.float64)


_LEVELS = (np.arange(401) + 0.5) / 401
_NORMAL = _normal_quantiles(_LEVELS)
