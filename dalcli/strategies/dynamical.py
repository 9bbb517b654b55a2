"""dynamicAL: the samples whose labels would speed up training the most.

Δ(u | S) = ‖g_u‖² + γ · ⟨g_u, G_S⟩ (Wang et al., NeurIPS 2022; :mod:`dalcli.scores.delta`). The theory's γ is 2; 0 is
the expected-gradient-length variant, inf is influence with an identity Hessian (the interaction alone).
"""

from __future__ import annotations

from dataclasses import dataclass

from dalcli.scores.columns import Floats
from dalcli.scores.delta import delta, delta_columns
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
        return delta_columns(self.gamma)

    def values(self, block: ScoreBlock, request: Request) -> Floats:
        return delta(block.columns.get("grad_sq_norm"), block.columns.get("grad_inner"), self.gamma)
