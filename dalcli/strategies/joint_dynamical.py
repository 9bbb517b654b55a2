"""Joint dynamical: Eq. 10 with the interaction within the batch that Eq. 12 drops (Wang et al., NeurIPS 2022).

Again and again the sample that adds most to Δ(Q | S) = ‖g_Q‖² + γ⟨g_Q, G_S⟩ (γ = 2 by theory): its own Δ plus
2⟨g_u, Σ_{q ∈ Q} g_q⟩. ‖g_Q‖² is convex in g_Q, so the interaction *rewards* gradients that point the same way: picks
resemble each other more than those of ``dynamical``. For studying the theory, not for saving labels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dalcli.strategies.diverse import Diverse, PickTask, Rows
from dalcli.strategies.dynamical import Dynamical
from dalcli.strategies.points import blocks
from dalcli.strategies.spaces import GradientSketches


@dataclass(frozen=True)
class InteractionGreedy:
    """Greedy choice by value + ``interaction`` · ⟨x, Σ chosen x⟩: values are exact, only cross terms are sketched.

    Memory: 16 bytes per candidate besides the points. Time: one pass over the points per pick.
    """

    interaction: float = 2.0

    def pick(self, task: PickTask) -> Rows:
        assert task.values is not None
        (sketches,) = task.points.factors
        limits = np.finfo(np.float64)
        gains = np.clip(task.values, limits.min, limits.max)  # −inf is left for what is chosen
        chosen: list[int] = []
        while len(chosen) < task.size:
            row = int(gains.argmax())
            chosen.append(row)
            for rows in blocks(len(gains)):
                gains[rows] += self.interaction * (sketches[rows] @ sketches[row]).astype(np.float64)
            gains[chosen] = -np.inf
        return np.array(chosen, np.intp)


def joint_dynamical(gamma: float) -> Diverse:
    """γ = inf has no ‖g_Q‖², and so no interaction.

    Memory: sketches of the pool in float32, within ``query.memory_limit``.
    """
    picker = InteractionGreedy(0.0 if math.isinf(gamma) else 2.0)
    return Diverse(GradientSketches(), picker, acquisition=Dynamical(gamma))
