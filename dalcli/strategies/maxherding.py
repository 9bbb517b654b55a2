"""MaxHerding: cover the pool softly (Bae, Noh & Sutherland, ECCV 2024, "Generalized Coverage").

Greedy maximisation of Σ_x max_{s ∈ S ∪ Q} k(x, s), a Gaussian kernel on features of length 1: how well the pool is
represented. The smooth form of ProbCover (Yehuda et al. 2022), without its radius to tune. For few labels, like
TypiClust.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dalcli.scores.columns import Floats
from dalcli.strategies.diverse import Diverse, PickTask, Rows
from dalcli.strategies.points import Points, blocks
from dalcli.strategies.spaces import Features

_REPRESENTATIVES = 2048
_CANDIDATES = 16384


@dataclass(frozen=True)
class GreedyCoverage:
    """Coverage of 2,048 random candidates by the picks.

    The squared kernel width is the median squared distance between representatives. Gains only shrink (the objective is
    submodular), so only candidates whose stale gain is in front are evaluated again: the exact greedy choices.
    Memory: 8 KiB of kernel values per candidate.
    """

    def pick(self, task: PickTask) -> Rows:
        points = task.points
        pool = task.points.take(slice(0, _REPRESENTATIVES))
        width = _median_sq_distance(pool)
        if width == 0.0:
            return np.empty(0, np.intp)
        kernel = np.empty((len(points), len(pool)), np.float32)
        for rows in blocks(len(points)):
            kernel[rows] = _kernel(points.take(rows), pool, width)
        covered = np.zeros(len(pool), np.float32)
        for known in task.known():
            for rows in blocks(len(known)):
                np.maximum(covered, _kernel(known.take(rows), pool, width).max(axis=0), out=covered)
        return _greedy(kernel, covered, task.size)


def _greedy(kernel: NDArray[np.float32], covered: NDArray[np.float32], size: int) -> Rows:
    """Rows of ``kernel`` (n, r) that raise Σ max most, one after the other; of equals the first."""
    gains = np.empty(len(kernel))
    for rows in blocks(len(kernel)):
        gains[rows] = _gain(kernel[rows], covered)
    chosen: list[int] = []
    while len(chosen) < size:
        row = _best(kernel, covered, gains)
        if not gains[row] > 0:
            break
        chosen.append(row)
        np.maximum(covered, kernel[row], out=covered)
        gains[row] = 0.0
    return np.array(chosen, np.intp)


def _best(kernel: NDArray[np.float32], covered: NDArray[np.float32], gains: Floats) -> int:
    """The row of the largest fresh gain; refreshes stale gains on the way."""
    fresh: set[int] = set()
    while True:
        row = int(gains.argmax())
        if row in fresh:
            return row
        gains[row] = _gain(kernel[row : row + 1], covered)[0]
        fresh.add(row)


def _gain(kernel: NDArray[np.float32], covered: NDArray[np.float32]) -> Floats:
    gain: Floats = np.maximum(kernel - covered, 0.0).sum(axis=1, dtype=np.float64)
    return gain


def _kernel(points: Points, others: Points, width: float) -> NDArray[np.float32]:
    return np.exp(points.sq_distances(others) / -width).astype(np.float32)


def _median_sq_distance(points: Points) -> float:
    """Over all pairs of different points; 0 if there are none, or most coincide (then the mean)."""
    distances = points.sq_distances(points)[np.triu_indices(len(points), 1)]
    if not len(distances):
        return 0.0
    return float(np.median(distances)) or float(distances.mean())


def maxherding() -> Diverse:
    """Memory: 8 KiB + 4·d bytes for each of at most 16,384 random candidates, whatever the pool."""
    return Diverse(Features(unit=True), GreedyCoverage(), apart_from="known", most=_CANDIDATES)
