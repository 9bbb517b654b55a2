"""Strategies side by side: rows are seeds, columns are rounds, and every difference is taken within a seed.

All strategies of a seed share the test set, the pool and the first labels, so their difference varies less than either.
A missing value is NaN: a cell that is not done, or has fewer rounds than asked for now.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dalcli.scores.columns import Floats
from dalcli.simulation.statistics import bootstrap
from dalcli.simulation.statistics.curves import labels_needed


@dataclass(frozen=True)
class Estimate:
    """Holds a mean over ``seeds``; its standard deviation and bounds are None where there are too few."""

    mean: float
    sd: float | None
    low: float | None
    high: float | None
    seeds: int


@dataclass(frozen=True)
class Needed:
    """Holds the labels at which the mean curve reaches ``accuracy``, those saved against the baseline, and bounds.

    None: not reached within the budget (a bound: not surely). ``at_least``: the baseline never reaches it, so the
    saving is a lower bound: what the baseline had spent at the end.
    """

    accuracy: float
    labels: float | None
    low: float | None
    high: float | None
    saved: float | None
    saved_low: float | None
    saved_high: float | None
    at_least: bool


def estimate(values: Floats, level: float) -> Estimate | None:
    """The mean of one value per seed; NaN are left out; None if nothing is left."""
    values = values[~np.isnan(values)]
    if not len(values):
        return None
    bounds = bootstrap.mean_interval(values, level)
    sd = float(values.std(ddof=1)) if len(values) > 1 else None
    low, high = bounds or (None, None)
    return Estimate(float(values.mean()), sd, low, high, len(values))


def needed(labels: Floats, curves: Floats, baseline: Floats | None, accuracy: float, level: float) -> Needed | None:
    """Labels needed, on the mean curve of complete seeds; savings on the seeds that ``baseline`` has as well.

    ``curves`` and ``baseline`` are (seeds, rounds), the same seed in the same row. None without a complete seed.
    """
    complete = ~np.isnan(curves).any(axis=1)
    if not complete.any():
        return None
    reached = labels_needed(labels, curves[complete].mean(axis=0), accuracy)
    low, high = _bounds(_resampled(labels, curves[complete], accuracy), level, int(complete.sum()))
    saved = saved_low = saved_high = None
    at_least = False
    if baseline is not None:
        both = complete & ~np.isnan(baseline).any(axis=1)
        if both.any():
            ours = labels_needed(labels, curves[both].mean(axis=0), accuracy)
            theirs = labels_needed(labels, baseline[both].mean(axis=0), accuracy)
            at_least = math.isinf(theirs) and math.isfinite(ours)
            saved = _finite(_saving(ours, theirs, float(labels[-1])))
            if saved is not None:
                ours_again, theirs_again = (_resampled(labels, c[both], accuracy) for c in (curves, baseline))
                savings = [_saving(a, b, float(labels[-1])) for a, b in zip(ours_again, theirs_again, strict=True)]
                saved_low, saved_high = _bounds(np.array(savings), level, int(both.sum()))
    return Needed(
        accuracy=accuracy,
        labels=_finite(reached),
        low=low,
        high=high,
        saved=saved,
        saved_low=saved_low,
        saved_high=saved_high,
        at_least=at_least,
    )


def _saving(ours: float, theirs: float, last: float) -> float:
    """Labels saved; −inf if we never get there; a baseline that does not counts as needing all it had."""
    if math.isinf(ours):
        return -math.inf
    return min(theirs, last) - ours


def _resampled(labels: Floats, curves: Floats, accuracy: float) -> Floats:
    matrix, _ = bootstrap.weights(len(curves))
    return np.array([labels_needed(labels, curve, accuracy) for curve in matrix @ curves])


def _bounds(resampled: Floats, level: float, count: int) -> tuple[float | None, float | None]:
    if count < bootstrap.FEWEST:
        return None, None
    _, probabilities = bootstrap.weights(count)
    low, high = bootstrap.statistic_interval(resampled, probabilities, level, count)
    return _finite(low), _finite(high)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
