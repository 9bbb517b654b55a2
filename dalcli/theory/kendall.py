"""Kendall's τ-b, the rank correlation of Figure 2, with a standard error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dalcli.scores.columns import Floats


@dataclass(frozen=True)
class Kendall:
    """τ-b of ``observations`` pairs of numbers and its standard error; both NaN where one side is constant."""

    tau: float
    standard_error: float
    observations: int


def kendall(first: Floats, second: Floats) -> Kendall:
    """τ-b of two arrays (n,), ties corrected for as in Kendall (1945); O(n²) time and memory.

    The standard error is the jackknife's for a U-statistic: 2/√n times the spread of the observations' own
    concordance, divided as τ is. It holds for independent observations and away from ±1.
    """
    count = len(first)
    x, y = (np.sign(values[:, None] - values[None, :]) for values in (first, second))
    pairs = np.sqrt(np.sum(x != 0)) * np.sqrt(np.sum(y != 0))
    if count < 3 or pairs == 0:
        return Kendall(float("nan"), float("nan"), count)
    concordance = x * y
    own = concordance.sum(axis=1) * count / pairs
    return Kendall(float(concordance.sum() / pairs), float(2 * own.std(ddof=1) / np.sqrt(count)), count)
