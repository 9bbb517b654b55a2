"""The forecast of a learning curve: many possible futures of the true metric, calibrated on public trajectories."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from dalcli.forecasting.calibration import Calibrated, Table, calibrated, packaged
from dalcli.forecasting.cautions import cautions
from dalcli.forecasting.curves import Curve, Floats, Measurements, measurements
from dalcli.forecasting.ensemble import Ensemble, ensemble
from dalcli.forecasting.hindsight import own_errors
from dalcli.forecasting.noise import true_values

_GRID = 40
_LEAST_KEPT = 0.25
"""At least so much of the variance of what will be measured is taken for the curve's, not for measuring."""
_LEAST_OPEN = 0.5
"""A rise is never known better than to so much of itself (standard deviation): the curve may have come to its end."""
_SHORT = 1.2
"""The shortest way ahead that the calibration knows, in units of today's labels."""


@dataclass(frozen=True)
class Forecast:
    """Possible futures of the true metric: what an endless evaluation set would say.

    Attributes:
        sizes: Labels, spaced evenly in the logarithm from today's to the horizon, both included; int64. [m]
        draws: Each row one possible future of the true metric: never falling, within chance and 1. [n, m]
        shown: The same futures as this workspace's evaluation set shows them, but for the noise of a round. [n, m]
        today: The true value at today's labels in each: the first column of `draws`. [n]
        ceiling: What each future tends to. [n]
        cautions: Why it is to be taken with care, as sentences for people.
        families: Weight of each law, summing to 1.
        noise: Standard deviation of measuring once at each size on the same examples. [m]
        rise: Standard deviation of how much the metric rises from today to each size. [m]
    """

    sizes: NDArray[np.int64]
    draws: Floats
    shown: Floats
    today: Floats
    ceiling: Floats
    cautions: tuple[str, ...]
    families: Mapping[str, float]
    noise: Floats
    rise: Floats

    def at(self, labels: int, quantiles: Sequence[float] | Floats) -> Floats:
        """Quantiles of the true metric after so many labels, clipped to between today's and the horizon. [q]"""
        return np.asarray(np.quantile(self.column(labels), quantiles), dtype=np.float64)

    def measured_at(self, labels: int, quantiles: Sequence[float] | Floats) -> Floats:
        """Quantiles of what will be *measured* on the same examples after so many labels: with a round's noise. [q]"""
        left, right, share = self._between(labels)
        shown = (1 - share) * self.shown[:, left] + share * self.shown[:, right]
        noise = np.sqrt((1 - share) * self.noise[left] ** 2 + share * self.noise[right] ** 2)
        # Every draw with a level of the noise and its opposite; the levels are spread over the draws evenly.
        ranks = np.argsort(np.argsort(shown, kind="stable"), kind="stable")
        levels = _NORMAL[(ranks * 389) % len(_NORMAL)]
        strayed = np.clip(shown[:, None] + noise * np.stack([levels, -levels], 1), 0, 1)
        return np.asarray(np.quantile(strayed, quantiles), dtype=np.float64)

    def gain(self, before: int, after: int, quantiles: Sequence[float] | Floats) -> Floats:
        """Quantiles of how much the metric rises from so many labels to so many, never below 0. [q]

        A draw keeps its level: its own rise says nothing of how uncertain rises are. What is left open from today to
        one size and from there to the next adds up as variances do.
        """
        middles = [float(np.median(self.column(labels))) for labels in (before, after)]
        opened = []
        for labels in (before, after):
            left, right, share = self._between(labels)
            opened.append((1 - share) * self.rise[left] + share * self.rise[right])
        risen = middles[1] - middles[0]
        deviation = max(math.sqrt(max(opened[1] ** 2 - opened[0] ** 2, 0.0)), _LEAST_OPEN * risen)
        normal = np.array([NormalDist().inv_cdf(level) for level in quantiles])
        return np.asarray(np.maximum(risen + deviation * normal, 0), dtype=np.float64)

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


def forecast(curve: Curve, *, horizon: int, seed: int, draws: int = 1000) -> Forecast:
    """Say where a learning curve may go.

    Args:
        curve: Measured points of one kind.
        horizon: Labels up to which to look; today's where it is below them.
        seed: The same seed gives the same draws.
        draws: Possible futures to return.

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
    own = own_errors(known, curve.chance, packaged(), generator)
    notes = cautions(curve, known, horizon, made.noise)
    return futures(known, sizes, made, packaged(), own, curve.chance, draws, generator, notes)


def futures(
    known: Measurements,
    sizes: NDArray[np.int64],
    made: Ensemble,
    table: Table,
    own: Floats,
    chance: float,
    draws: int,
    generator: np.random.Generator,
    notes: tuple[str, ...],
) -> Forecast:
    """Draw futures from an ensemble, a calibration table and own errors; what `forecast` does with the packaged table.

    A future keeps its level: one that is at the tenth percentile today is there at the horizon too. So the share of
    futures that have reached a target with so many labels is the chance of having reached it with them. Each also has
    a level of how lucky this evaluation set is, which it keeps for the same reason: the examples stay the same.
    """
    factors = sizes / sizes[0]
    measured = calibrated(made, factors, known, table, own)
    levels = (generator.permutation(draws) + 0.5) / draws
    course, noise = _course(measured, made)
    shown = np.stack([np.interp(levels, measured.levels, row) for row in course], axis=1)
    shown = np.clip(np.maximum.accumulate(shown, axis=1), 0, 1)
    ceiling = np.maximum(np.clip(_ceilings(made, levels), 0, 1), shown[:, -1])
    true, most = shown, ceiling
    if known.evaluated[-1] > 0:
        luck = _normal_quantiles(levels)[generator.permutation(draws)]
        true = true_values(shown, float(known.evaluated[-1]), luck[:, None])
        most = true_values(ceiling, float(known.evaluated[-1]), luck)
    true, most = np.clip(true, chance, 1), np.clip(most, chance, 1)
    rise = _rise(measured, made, factors)
    return Forecast(sizes, true, shown, true[:, 0], most, notes, made.families, noise, rise)


def _course(measured: Calibrated, made: Ensemble) -> tuple[Floats, Floats]:
    """Take a round's noise out of what will be measured: quantiles of the rest [m, q], and the noise left out [m]."""
    deviation = measured.deviation
    kept = np.sqrt(np.maximum(1 - (made.noise / deviation) ** 2, _LEAST_KEPT))
    course = measured.median[:, None] + kept[:, None] * (measured.quantiles - measured.median[:, None])
    # Today nothing is to come: what is not known is what one measurement and the laws through all of them leave open.
    open_today = np.clip(made.spread[0], 0.4 * made.noise, made.noise)
    course[0] = measured.median[0] + open_today * np.interp(measured.levels, _LEVELS, _NORMAL)
    return course, deviation * np.sqrt(1 - kept**2)


def _rise(measured: Calibrated, made: Ensemble, factors: Floats) -> Floats:
    """Standard deviation of the rise from today: of both measurements' difference, less the noise of both. [m]"""
    deviation = measured.deviation
    kept = np.sqrt(np.maximum(1 - 2 * (made.noise / deviation) ** 2, _LEAST_KEPT))
    # Public curves are silent about steps smaller than theirs: there it grows with the way.
    part = np.minimum(np.log(factors) / math.log(_SHORT), 1)
    return np.asarray(np.maximum.accumulate(part * kept * deviation), dtype=np.float64)


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
