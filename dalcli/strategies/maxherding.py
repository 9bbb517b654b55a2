"""MaxHerding: cover the pool softly (Bae, Noh & Sutherland, ECCV 2024, "Generalized Coverage").

Greedy maximisation of Σ_x max_{s ∈ S ∪ Q} k(x, s), a Gaussian kernel on features of length 1: how well the pool is
represented. The smooth form of ProbCover (Yehuda et al. 2022), without its radius to tune. For few labels, like
TypiClust.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dalcli.strategies.coverage import Coverage, median_sq_distance
from dalcli.strategies.diverse import Diverse, PickTask, Rows
from dalcli.strategies.spaces import Features

_EXACT = 8192  # of fewer, all represent the pool
_REPRESENTATIVES = 4096  # of more
_CANDIDATES = 16384
_MEASURED = 2048  # for the width


@dataclass(frozen=True)
class GreedyCoverage:
    """Coverage of all candidates by the picks, or of 4,096 random ones of more than 8,192: the exact greedy choices.

    The kernel width is half the median distance between representatives: on photographs five points more with 20 labels
    than the whole of it (docs/frozen.md). Memory: 256 MiB of kernel values at most.
    """

    def pick(self, task: PickTask) -> Rows:
        pool = task.points.take(slice(0, _EXACT if len(task.points) <= _EXACT else _REPRESENTATIVES))
        sq_width = median_sq_distance(pool.take(slice(0, _MEASURED))) / 4.0
        if sq_width == 0.0:
            return np.empty(0, np.intp)
        return Coverage(task.points, pool, sq_width, task.known()).pick(task.size)


def maxherding() -> Diverse:
    """Memory: 256 MiB, and 4·d bytes for each of at most 16,384 random candidates, whatever the pool."""
    return Diverse(Features(unit=True), GreedyCoverage(), apart_from="known", most=_CANDIDATES)
