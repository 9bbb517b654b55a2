"""Joint dynamical: Eq. 10 with the interaction within the batch that Eq. 12 drops (Wang et al., NeurIPS 2022).

Again and again the sample that adds most to Δ(Q | S) = ‖g_Q‖² + γ⟨g_Q, G_S⟩ (γ = 2 by theory): its own Δ plus
2⟨g_u, Σ_{q ∈ Q} g_q⟩. ‖g_Q‖² is convex in g_Q, so the interaction *rewards* gradients that point the same way: picks
resemble each other more than those of ``dynamical``. For studying the theory, not for saving labels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dalcli.scores.columns import Floats
from dalcli.strategies.diverse import Diverse, PickTask, Rows
from dalcli.strategies.dynamical import Dynamical
from dalcli.strategies.nearest import Ahead
from dalcli.strategies.points import Points
from dalcli.strategies.spaces import GradientSketches

_FOLLOWED = 512


@dataclass(frozen=True)
class InteractionGreedy:
    """Greedy choice by value + ``interaction`` · ⟨x, Σ chosen x⟩: values are exact, only cross terms are sketched.

    Memory: 144 bytes per candidate besides the points. Time: at most one pass over the points per pick; picks that come
    as expected share it.
    """

    interaction: float = 2.0

    def pick(self, task: PickTask) -> Rows:
        assert task.values is not None
        limits = np.finfo(np.float64)
        gains = np.clip(task.values, limits.min, limits.max)  # −inf is left for what is chosen
        ahead = Ahead(task.points, lambda count: self._expected(task.points, gains, count))
        chosen: list[int] = []
        while len(chosen) < task.size:
            row = int(gains.argmax())
            chosen.append(row)
            if self.interaction:
                gains += self.interaction * ahead.inner(row).astype(np.float64)
            gains[chosen] = -np.inf
        return np.array(chosen, np.intp)

    def _expected(self, points: Points, gains: Floats, count: int) -> Rows:
        """The next ``count`` picks, if they are among the highest gains."""
        front = np.argpartition(gains, -min(_FOLLOWED, len(gains)))[-_FOLLOWED:]
        current, some = gains[front], points.take(front)
        between = some.inner(some)
        rows = []
        for _ in range(min(count, len(front))):
            best = int(current.argmax())
            rows.append(front[best])
            current += self.interaction * between[best]
            current[best] = -np.inf
        return np.array(rows, np.intp)


def joint_dynamical(gamma: float) -> Diverse:
    """γ = inf has no ‖g_Q‖², and so no interaction.

    Memory: sketches of the pool in float32, within ``query.memory_limit``.
    """
    picker = InteractionGreedy(0.0 if math.isinf(gamma) else 2.0)
    return Diverse(GradientSketches(), picker, acquisition=Dynamical(gamma))
