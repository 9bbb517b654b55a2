"""Power acquisition: draw in proportion to a power of the score, instead of taking the top (Kirsch et al., TMLR 2023).

The b highest of β · log s + Gumbel noise are a draw of b without replacement in proportion to s^β. The top of a score
is full of samples that resemble each other and of outliers; a draw is not, and costs nothing. β = 0 is uniform, large β
the top.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dalcli.scores.table import ScoreBlock
from dalcli.strategies.base import Request, Score


@dataclass(frozen=True)
class Power:
    """β · log(score) plus noise keyed by content; what is not positive comes last, in random order; NaN stays NaN."""

    score: Score
    beta: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.beta < np.inf:
            raise ValueError(f"beta must be a finite number from 0 on, got {self.beta}")

    @property
    def columns(self) -> tuple[str, ...]:
        return self.score.columns

    def values(self, block: ScoreBlock, request: Request) -> NDArray[np.float64]:
        values = np.asarray(self.score.values(block, request), np.float64)
        with np.errstate(divide="ignore"):
            logs = np.minimum(np.log(np.maximum(values, 0.0)), np.finfo(np.float64).max)  # NaN stays; 0 · inf is NaN
        with np.errstate(invalid="ignore", over="ignore"):
            scaled = np.where((values > 0) | np.isnan(values), self.beta * logs, -np.inf)
        return scaled + gumbel(request.keys(block.digests, "power"))


def gumbel(keys: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Standard Gumbel noise from uniform 64-bit keys."""
    uniform = ((keys >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52  # 53 bits would round up to 1
    return -np.log(-np.log(uniform))
