"""Many possible curves through the measured points: laws × bootstrap, each law as likely as it foretold what came later.

All fits of one law are one batch: the measured curve, its copies with the noise of measuring drawn anew (bootstrap over
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

COPIES = 48
"""Bootstrap copies of the curve."""
_SHARPNESS = 1.0
_FARTHEST_PREFIX = 8


@dataclass(frozen=True)
class Ensemble:
    """Equally likely curves, as fitted and not yet calibrated.

    Attributes:
        curves: Values at the sizes asked for. [n, m]
        ceiling: What each tends to. [n]
        families: Weight of each law, summing to 1.
        variance: Of a measurement today: noise of the evaluation set and of training.
        drift: Mean of (forecast − measured) over the rolling origins.
        miss: Root mean square of the same, of the combination.
    """

    curves: Floats
    ceiling: Floats
    families: Mapping[str, float]
    middle: Floats
    each: Mapping[str, Floats]
    variance: float


def ensemble(known: Measurements, sizes: Floats, floor: float, generator: np.random.Generator) -> Ensemble:
    """Fit every law to the points and say what each gives at `sizes` [m]."""
    today = known.labels[-1]
    x, ahead = known.labels / today, sizes / today
    variance = noise.variances(known)
    points = len(x)
    copies = known.value + generator.standard_normal((COPIES, points)) * np.sqrt(variance)
    fewest = max(FEWEST_SIZES - 1, points - _FARTHEST_PREFIX)
    prefixes = np.tril(np.ones((points, points)))[fewest - 1 : -1]
    rows = np.concatenate([np.tile(known.value, (1 + len(prefixes), 1)), np.clip(copies, 0, 1)])
    weight = np.concatenate([np.ones((1, points)), prefixes, np.ones((COPIES, points))]) / variance
    first_copy = 1 + len(prefixes)
    later = 1 - prefixes
    middles, drawn, ceilings, misses = {}, [], [], []
    for family in FAMILIES.values():
        fits = fit(family, x, rows, weight, floor)
        foretold = fits.at(x)[1:first_copy]
        off = (foretold - known.value) ** 2 / variance * later
        misses.append(float(np.sum(off) / np.sum(later)))
        curves = fits.at(ahead)
        middles[family.name] = curves[0]
        drawn.append(curves[first_copy:])
        ceilings.append(fits.ceiling[first_copy:])
    weights = (1 / (1 + np.array(misses))) ** _SHARPNESS
    weights /= weights.sum()
    chosen = np.searchsorted(np.cumsum(weights)[:-1], (np.arange(COPIES * 4) + generator.random()) / (COPIES * 4))
    copy = np.tile(generator.permutation(COPIES), 4)
    middle = np.tensordot(weights, np.stack(list(middles.values())), 1)
    return Ensemble(
        np.stack(drawn)[chosen, copy],
        np.stack(ceilings)[chosen, copy],
        dict(zip(FAMILIES, weights.tolist(), strict=True)),
        middle,
        middles,
        float(variance[-1]),
    )
