"""dynamicAL: the samples whose labels would speed up training the most.

Δ(u | S) = ‖g_u‖² + γ · ⟨g_u, G_S⟩ with pseudo-label gradients g_u and the labeled set's summed gradient G_S (Wang et
al., "Deep Active Learning by Leveraging Training Dynamics", NeurIPS 2022, Eq. 12 and 15). The theory's γ is 2; 0 is
the expected-gradient-length variant, inf is influence with an identity Hessian (the interaction alone).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dalcli.scores.table import ScoreBlock
from dalcli.strategies.base import Request


@dataclass(frozen=True)
class Dynamical:
    """Δ for one ``gamma`` in [0, inf], in float64; the unused term of γ = 0 and γ = inf is not even read."""

    gamma: float = 2.0

    def __post_init__(self) -> None:
        if not self.gamma >= 0:
            raise ValueError(f"gamma must be a number from 0 to inf, got {self.gamma}")

    @property
    def columns(self) -> tuple[str, ...]:
        if self.gamma == 0:
            return ("grad_sq_norm",)
        return ("grad_inner",) if math.isinf(self.gamma) else ("grad_sq_norm", "grad_inner")

    def values(self, block: ScoreBlock, request: Request) -> NDArray[np.float64]:
        if len(self.columns) == 1:
            return np.asarray(block[self.columns[0]], np.float64)
        with np.errstate(over="ignore", invalid="ignore"):  # a diverged model's NaN and inf rank as such
            return np.asarray(block["grad_sq_norm"] + self.gamma * block["grad_inner"], np.float64)
