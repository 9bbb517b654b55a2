"""Power acquisition: draw in proportion to a power of the value, instead of taking the top (Kirsch et al., TMLR 2023).

The b highest of β · log s + Gumbel noise are a draw of b without replacement in proportion to s^β. The top of an
acquisition is full of samples that resemble each other and of outliers; a draw is not, and costs nothing. β = 0 is
uniform, large β the top.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dalcli.scores.columns import Floats
from dalcli.scores.table import ScoreBlock
from dalcli.strategies.base import Acquisition, Request


@dataclass(frozen=True)
class Power:
    """β · log(value) plus noise keyed by content; what is not positive comes last, in random order; NaN stays NaN."""

    acquisition: Acquisition
    beta: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.beta < np.inf:
            raise ValueError(f"beta must be a finite number from 0 on, got {self.beta}")

    @property
    def columns(self) -> tuple[str, ...]:
        return self.acquisition.columns

    def values(self, block: ScoreBlock, request: Request) -> Floats:
        values = np.asarray(self.acquisition.values(block, request), np.float64)
        with np.errstate(divide="ignore"):
            logs = np.minimum(np.log(np.maximum(values, 0.0)), np.finfo(np.float64).max)  # NaN stays; 0 · inf is NaN
        with np.errstate(invalid="ignore", over="ignore"):
            scaled = np.where((values > 0) | np.isnan(values), self.beta * logs, -np.inf)
        return scaled + gumbel(request.keys(block.digests, "power"))


def gumbel(keys: NDArray[np.uint64]) -> Floats:
    """Standard Gumbel noise from uniform 64-bit keys."""
    uniform = ((keys >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52  # 53 bits would round up to 1
    return -np.log(-np.log(uniform))
