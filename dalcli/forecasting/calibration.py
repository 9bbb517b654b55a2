"""From an ensemble to honest quantiles: how far public trajectories strayed from what their ensembles said.

The laws' promises are added up with shares that public curves taught (stacking: Wolpert, *Stacked Generalization*,
1992): fitted laws promise too much, each in its own way, and noise makes them. The errors that public curves had, in
units of a scale that each curve gives by itself, then say where the quantiles lie. The table is learned by
`benchmarks/forecasts.py --learn`; to judge a data set it is learned anew without that data set.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np

from dalcli.forecasting.curves import Floats, Measurements
from dalcli.forecasting.ensemble import Ensemble
from dalcli.forecasting.families import FAMILIES
from dalcli.forecasting.noise import explained

NORMAL_80 = 2.563
"""Width of a normal law's 80% interval in standard deviations."""
_STACKED = [list(FAMILIES).index(name) for name in ("POW2", "POW3", "POW4")]
"""The laws that have shares of their own beside the mean of all; more of them foretold no better."""
_BENT = [0, 2, 6]
"""Features that count by their squares, too: noise, misses and spread."""
_BOTH = 1.25
"""Measurements lie apart by the noise of both, of which the laws even out some: times that of one."""
_BY_NOISE = 2.0
"""Standard deviations of a measurement that laws, which cannot fall, may lie beside today's: curves may have fallen."""
_USUAL = 4.0
"""Squares are taken from here on: exp(-4), some two points of accuracy."""
_STRAY = 0.72
"""Mean size of a public curve's errors, in standard deviations, of which each counts up to `_WILD`."""
_WILD = 2.0
"""Own errors count no farther than so many standard deviations: one broken round is not a law."""
_SUPPOSED = 2.0
"""So many own errors weigh as much as the public trajectories."""
_BELIEVED = 0.75
"""Power of the ratio that is believed: own errors are few, and of the same few measurements."""


@dataclass(frozen=True)
class Table:
    """What was learned.

    Attributes:
        levels: Quantile levels, ascending. [q]
        points: Numbers of points: the cells' lower ends, ascending. [a]
        factors: Labels ahead divided by today's: the cells' centres, ascending. [b]
        shares: Of `promises`, for the middle. [2 s]
        coefficients: Of `features`, for the logarithm of the scale. [f]
        quantiles: Of (measured − middle) / scale. [a, b, q]
    """

    levels: Floats
    points: Floats
    factors: Floats
    shares: Floats
    coefficients: Floats
    quantiles: Floats

    def at(self, points: int, factors: Floats) -> Floats:
        """Quantiles for a curve of so many points, between the cells' centres interpolated in the logarithm. [m, q]"""
        cell = self.quantiles[max(int(np.searchsorted(self.points, points, side="right")) - 1, 0)]
        places, wanted = np.log(self.factors), np.log(factors)
        return np.stack([np.interp(wanted, places, level) for level in cell.T], axis=1)


@dataclass(frozen=True)
class Calibrated:
    """Where a measurement at each size is expected.

    Attributes:
        levels: Quantile levels. [q]
        quantiles: Of the measured value, neither clipped nor made to rise. [m, q]
    """

    levels: Floats
    quantiles: Floats

    @property
    def median(self) -> Floats:
        """[m]"""
        return self._level(0.5)

    @property
    def deviation(self) -> Floats:
        """Standard deviation of the normal law that has the same 80% interval. [m]"""
        return (self._level(0.9) - self._level(0.1)) / NORMAL_80

    def _level(self, level: float) -> Floats:
        return np.array([np.interp(level, self.levels, row) for row in self.quantiles], dtype=np.float64)


@cache
def packaged() -> Table:
    """The table that ships with the package."""
    return table_from(files("dalcli.forecasting").joinpath("calibration.json").read_text(encoding="utf-8"))


def table_from(document: str) -> Table:
    """A table from its JSON document, as `benchmarks/forecasts.py --learn` writes it."""
    stored = json.loads(document)
    return Table(**{key: np.array(stored[key], dtype=np.float64) for key in Table.__dataclass_fields__})


def promises(made: Ensemble, last: float) -> Floats:
    """What the mean of all laws, and single ones, say against the last measured value. [m, 2 s]

    For each how far it lies from that value today, as far as noise may have put it there, then how much it rises from
    today on. `made` was asked at today's size first; the same for `middle` and `features`.
    """
    said = np.vstack([made.middle, made.laws[_STACKED]]).T
    today = np.clip(said[0] - last, -_BY_NOISE * made.noise, _BY_NOISE * made.noise)
    return np.hstack([np.broadcast_to(today, said.shape), said - said[0]])


def middle(made: Ensemble, last: float, shares: Floats) -> Floats:
    """The last measured value and a share of every promise, within 0 and 1. [m]"""
    return np.clip(last + promises(made, last) @ shares, 0, 1)


def features(made: Ensemble, factors: Floats, last: float, points: int, span: float) -> Floats:
    """What the scale of a curve's errors depends on: logarithms, some of their squares, a constant. [m, f]

    Args:
        made: The ensemble at m sizes, of which today's is the first.
        factors: Those sizes in units of today's. [m]
        last: The last measured value.
        points: Distinct sizes that were measured.
        span: The largest of them divided by the smallest.
    """
    noise = made.noise
    little = 0.1 * noise
    of_curve = (
        noise,
        1 - last + noise,
        made.missed + little,
        abs(last - made.middle[0]) + little,
        min(points, 30),
        min(span, 500.0),
    )
    of_size = (
        made.spread + little,
        np.abs(made.middle - made.middle[0]) + little,
        np.sqrt(made.weights @ (made.laws - made.middle) ** 2) + little,
        1 + np.log(factors),
    )
    logarithms = np.log(np.stack([*(np.full_like(factors, value) for value in of_curve), *of_size], axis=1))
    # Smooth curves stray less, by more than a power of their noise: so the law may bend in these.
    bent = (logarithms[:, _BENT] + _USUAL) ** 2
    return np.hstack([logarithms, bent, np.ones((len(factors), 1))])


def calibrated(
    made: Ensemble, factors: Floats, known: Measurements, table: Table, own: Floats | None = None
) -> Calibrated:
    """Quantiles of what will be measured at every size, from a table and what this curve strayed so far.

    Args:
        made: The ensemble of ``known`` at m sizes, of which today's is the first.
        factors: Those sizes in units of today's. [m]
        known: What was measured.
        table: What public curves taught.
        own: By how many standard deviations the same forecasts, made at earlier points, were off (`hindsight`). [e]
    """
    last, points = float(known.value[-1]), len(known.labels)
    span = float(known.labels[-1] / known.labels[0])
    scale = np.exp(features(made, factors, last, points, span) @ table.coefficients)
    spread = table.at(points, factors) * scale[:, None] * (1.0 if own is None else sharpening(own))
    found = Calibrated(table.levels, middle(made, last, table.shares)[:, None] + spread)
    # Public test sets are large: noise as a small one makes it is beyond what they teach, and is known.
    least = _BOTH * explained(known, made.noise)
    widen = np.maximum(least / np.maximum(found.deviation, 1e-12), 1)[:, None]
    return Calibrated(table.levels, found.median[:, None] + widen * (found.quantiles - found.median[:, None]))


def sharpening(own: Floats) -> float:
    """By what to widen forecasts of a curve whose earlier ones were off by so many standard deviations. [e] → factor

    The size of its errors tells what kind of curve it is; their sign tells nothing (on public curves the next error is,
    if anything, of the other sign: a lucky measurement is in both), so forecasts are not moved.
    """
    strayed = np.minimum(np.abs(own), _WILD)
    usual = _SUPPOSED * _STRAY
    return float(((usual + strayed.sum()) / (_SUPPOSED + len(strayed)) / _STRAY) ** _BELIEVED)
