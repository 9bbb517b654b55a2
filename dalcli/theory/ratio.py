"""The approximation ratio R(Q|S) of Eq. 14: how much of a batch's effect its members explain one by one.

R = [Σ‖g_u‖² + 2⟨g_Q, G_S⟩] / [‖g_Q‖² + 2⟨g_Q, G_S⟩] with g_Q = Σ_{u∈Q} g_u. The denominator may be near zero or
negative, so single values and their mean run wild (from −299 to 1040 in one trial): quantiles and the ratio of means
are what to look at. Pure arrays: T batches, float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from dalcli.scores.columns import Floats

Numbers = TypeVar("Numbers", float, Floats)
LEVEL = 0.95
RESAMPLES = 2000
QUANTILES = (0.05, 0.25, 0.75, 0.95)


@dataclass(frozen=True)
class IntervalEstimate:
    """A number with its 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class RatioSummary:
    """R over random batches: its median and quantiles, and the mean numerator over the mean denominator.

    ``not_positive``: batches whose Δ(Q|S), the denominator, is not positive: there R is no fraction of anything.
    """

    batches: int
    median: IntervalEstimate
    quantiles: dict[str, float]
    ratio_of_means: IntervalEstimate
    not_positive: int


def terms(sq_norm: Numbers, inner: Numbers, joint_sq_norm: Numbers) -> tuple[Numbers, Numbers]:
    """Numerator and denominator of R from Σ‖g_u‖², ⟨g_Q, G_S⟩ and ‖g_Q‖²: of one batch, or of T, each (T,)."""
    return sq_norm + 2 * inner, joint_sq_norm + 2 * inner


def ratio(numerator: float, denominator: float) -> float:
    """R; NaN where Δ(Q|S) is exactly zero."""
    return numerator / denominator if denominator != 0 else float("nan")


def summarise(numerators: Floats, denominators: Floats, random: np.random.Generator) -> RatioSummary:
    """What T ≥ 1 random batches say about R; intervals by the percentile bootstrap over batches."""
    defined = _ratios(numerators, denominators)
    draws = random.integers(len(numerators), size=(RESAMPLES, len(numerators)))
    means = _ratios(numerators[draws].mean(1), denominators[draws].mean(1))
    drawn = random.integers(max(1, len(defined)), size=(RESAMPLES, len(defined)))
    medians = np.median(defined[drawn], axis=1) if len(defined) else defined
    return RatioSummary(
        batches=len(numerators),
        median=_interval(_quantile(defined, 0.5), medians),
        quantiles={f"{100 * q:g}%": _quantile(defined, q) for q in QUANTILES},
        ratio_of_means=_interval(ratio(float(numerators.mean()), float(denominators.mean())), means),
        not_positive=int(np.count_nonzero(denominators <= 0)),
    )


def _ratios(numerators: Floats, denominators: Floats) -> Floats:
    """Where there is one."""
    there = denominators != 0
    found: Floats = numerators[there] / denominators[there]
    return found


def _quantile(values: Floats, q: float) -> float:
    return float(np.quantile(values, q)) if len(values) else float("nan")


def _interval(value: float, resampled: Floats) -> IntervalEstimate:
    tail = (1 - LEVEL) / 2
    return IntervalEstimate(value, _quantile(resampled, tail), _quantile(resampled, 1 - tail))


@dataclass(frozen=True)
class PoolMeans:
    """Means over a pool: of ‖g_u‖², of ⟨g_u, G_S⟩, and of ⟨g_u, g_v⟩ over pairs u ≠ v."""

    sq_norm: float
    inner: float
    cross: float

    @staticmethod
    def of(sq_norms: Floats, inners: Floats, total_sq_norm: float) -> PoolMeans:
        """From ‖g_u‖² and ⟨g_u, G_S⟩ of N ≥ 2 samples and ‖Σ_u g_u‖², which needs no pair to be looked at."""
        count = len(sq_norms)
        cross = (total_sq_norm - float(sq_norms.sum())) / (count * (count - 1))
        return PoolMeans(float(sq_norms.mean()), float(inners.mean()), cross)

    def ratio_of_means(self, size: int) -> float:
        """E[numerator] / E[denominator] of R over *all* batches of ``size``, without drawing one.

        E‖g_Q‖² over uniform draws without replacement is b·mean‖g_u‖² + b(b−1)·mean⟨g_u, g_v⟩.
        """
        alone = self.sq_norm + 2 * self.inner
        return ratio(alone, alone + (size - 1) * self.cross)

    def largest_batch(self, low: float, high: float, most: int) -> int:
        """The largest b ≤ ``most`` up to which the ratio of means stays within [low, high]; at least 1."""
        alone = self.sq_norm + 2 * self.inner
        if alone <= 0:  # then there is nothing that the members would explain
            return 1
        # The denominator, alone + (b − 1)·cross, has to stay between alone/high and alone/low.
        room = (alone / low - alone) if self.cross > 0 else (alone - alone / high)
        if self.cross == 0 or room / abs(self.cross) >= most - 1:
            return most
        return 1 + int(np.floor(room / abs(self.cross)))
