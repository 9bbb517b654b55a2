"""Weighted, bounded least squares of one law for many curves at once, by variable projection.

Rows are curves over the same sizes: bootstrap copies differ in their values, prefixes in their weights (a point that a
prefix does not know has weight 0). For every node of the law's grid the linear part has a closed form, so that all rows
and nodes are a few matrix products; that is several starts, all of them, and no iteration can diverge.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dalcli.forecasting.curves import Floats
from dalcli.forecasting.families import Family, Linear

_TINY = 1e-12


@dataclass(frozen=True)
class Fits:
    """The best law of one family for each row.

    Attributes:
        theta: Non-linear parameters. [rows, parts]
        a: Ceiling, or value at today's labels where the law has none. [rows]
        b: How much the shape takes away. [rows]
        error: Weighted sum of squared residuals. [rows]
    """

    family: Family
    theta: Floats
    a: Floats
    b: Floats
    error: Floats

    def at(self, x: Floats) -> Floats:
        """Values at x [m], as the law has them, within [0, 1]. [rows, m]"""
        shape = self.family.at(x, self.theta)
        return np.clip(self.a[:, None] - self.b[:, None] * shape, 0, 1)

    @property
    def ceiling(self) -> Floats:
        """What the law tends to. [rows]"""
        return np.ones_like(self.a) if self.family.linear == "endless" else np.clip(self.a, 0, 1)


def _solve(
    linear: Linear, w: Floats, wg: Floats, wgg: Floats, wy: Floats, wgy: Floats, floor: float
) -> tuple[Floats, Floats]:
    """Minimise Σ w (y − a + b g)² with floor ≤ a ≤ 1 and b ≥ 0, from weighted sums that broadcast together."""
    if linear == "origin":
        # y = a (1 − g)
        a = np.clip((wy - wgy) / np.maximum(w - 2 * wg + wgg, _TINY), floor, 1)
        return a, a
    below_one = np.maximum((wg - wgy) / np.maximum(wgg, _TINY), 0)
    if linear == "one":
        return np.ones_like(below_one), below_one
    spread = w * wgg - wg**2
    b = np.where(spread > _TINY * w * wgg, (wg * wy - w * wgy) / np.maximum(spread, _TINY**2), 0)
    b = np.maximum(b, 0)
    a = (wy + b * wg) / w
    if linear == "endless":
        return a, b
    over = a > 1
    return np.where(over, 1, np.maximum(a, floor)), np.where(over, below_one, b)


def fit(family: Family, x: Floats, value: Floats, weight: Floats, floor: float = 0.0) -> Fits:
    """Fit one law on its grid to every row.

    Args:
        family: The law.
        x: Sizes in units of today's labels. [p]
        value: Curves. [rows, p]
        weight: One over each value's variance, 0 where a row does not know the point. [rows, p]
        floor: The ceiling is not below it: chance.
    """
    shape = family.at(x, family.grid)  # [nodes, p]
    weighed = weight * value
    sums = (
        weight.sum(1),
        shape @ weight.T,
        shape**2 @ weight.T,
        weighed.sum(1),
        shape @ weighed.T,
    )
    w, wg, wgg, wy, wgy = sums
    a, b = _solve(family.linear, w[None], wg, wgg, wy[None], wgy, floor)  # [nodes, rows]
    error = a * (a * w - 2 * wy) + b * (b * wgg + 2 * (wgy - a * wg)) + (weighed * value).sum(1)
    best = error.argmin(0)
    rows = np.arange(len(value))
    return Fits(family, family.grid[best], a[best, rows], b[best, rows], np.maximum(error[best, rows], 0))
