"""Many possible curves through the measured points: laws × bootstrap, each law as likely as it foretold later points.

All fits of one law are one batch: the measured curve's copies with the noise of measuring drawn anew (bootstrap over
evaluation examples and training seeds), and its prefixes (rolling origin).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dalcli.forecasting import noise
from dalcli.forecasting.curves import FEWEST_SIZES, Floats, Measurements
from dalcli.forecasting.families import FAMILIES
from dalcli.forecasting.fitting import fit

_COPIES = 40
"""Bootstrap copies of the curve."""
_ORIGINS = 8
"""Prefixes that are asked what they would have foretold: the longest ones."""


_ANCHOR = 0.5
"""Share of today's gap between the laws and the last value by which the laws are moved."""
_TRUST = 0.7
"""Share of the laws' change that is believed."""


def drawn_to(laws: Floats, today: Floats | float, last: Floats | float) -> Floats:
    """Laws' values, which are `today` at the last measured size, moved and drawn towards the `last` measured value."""
    moved = laws + _ANCHOR * (last - today)
    return np.asarray(last + _TRUST * (moved - last), dtype=np.float64)


@dataclass(frozen=True)
class Ensemble:
    """What the laws make of a curve, before calibration.

    Attributes:
        middle: Weighted mean of all laws and copies at the sizes asked for. [m]
        spread: Standard deviation of the same. [m]
        laws: Mean over the copies, law by law. [laws, m]
        weights: Of the laws, in the order of `FAMILIES`, summing to 1. [laws]
        ceilings: What copies of every law tend to. [laws, copies]
        noise: Standard deviation of a measurement today, from evaluation and training.
        missed: Mean absolute error of the same forecast made at earlier points, against the later ones.
    """

    middle: Floats
    spread: Floats
    laws: Floats
    weights: Floats
    ceilings: Floats
    noise: float
    missed: float

    @property
    def families(self) -> Mapping[str, float]:
        """Weights by the laws' names."""
        return dict(zip(FAMILIES, self.weights.tolist(), strict=True))


def ensemble(known: Measurements, sizes: Floats, floor: float, generator: np.random.Generator) -> Ensemble:
    """Fit every law to the points and say what each gives at `sizes` [m]."""
    today = known.labels[-1]
    x, ahead = known.labels / today, sizes / today
    variance = noise.variances(known)
    copies = known.value + generator.standard_normal((_COPIES, len(x))) * np.sqrt(variance)
    prefixes = _prefixes(len(x))
    rows = np.concatenate([np.tile(known.value, (len(prefixes), 1)), np.clip(copies, 0, 1)])
    # The laws hold far out: a point weighs with its size, beside the inverse of its variance.
    weight = np.concatenate([prefixes, np.ones_like(copies)]) * x / variance
    misses, backs, curves, ceilings = [], [], [], []
    for family in FAMILIES.values():
        fits = fit(family, x, rows, weight, floor)
        foretold = fits.at(x)[: len(prefixes)]
        later = (1 - prefixes) / variance
        misses.append(float(np.sum((foretold - known.value) ** 2 * later) / np.sum(1 - prefixes)))
        backs.append(foretold)
        curves.append(fits.at(ahead)[len(prefixes) :])
        ceilings.append(fits.ceiling[len(prefixes) :])
    weights = 1 / (1 + np.array(misses))
    weights /= weights.sum()
    every = np.stack(curves)
    laws = every.mean(1)
    middle = weights @ laws
    spread = np.sqrt(weights @ np.mean((every - middle) ** 2, axis=1))
    missed = _missed(np.tensordot(weights, np.stack(backs), 1), known.value, prefixes)
    return Ensemble(middle, spread, laws, weights, np.stack(ceilings), float(np.sqrt(variance[-1])), missed)


def _missed(foretold: Floats, value: Floats, prefixes: Floats) -> float:
    """Mean absolute error of what prefixes foretold of later points, after drawing it to their own last value."""
    own = prefixes.sum(1).astype(np.intp) - 1
    last = value[own][:, None]
    off = np.abs(drawn_to(foretold, foretold[np.arange(len(own)), own][:, None], last) - value)
    return float(np.sum(off * (1 - prefixes)) / np.sum(1 - prefixes))


def _prefixes(points: int) -> Floats:
    """The longest prefixes that leave a point to foretell, as rows of ones and zeros. [origins, points]"""
    first = max(FEWEST_SIZES - 1, points - _ORIGINS)
    return np.tril(np.ones((points, points)))[first - 1 : -1]
