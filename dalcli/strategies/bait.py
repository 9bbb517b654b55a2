"""BAIT, scaled down: the batch whose Fisher information covers the pool's (Ash et al., NeurIPS 2021).

Greedy minimisation of tr(M⁻¹ F): F is the pool's mean information, M what is known plus the batch. The paper's matrices
have (K·d)² entries. Here information is averaged over classes, (1 − ‖p‖²) · h hᵀ: d² entries, and rank one per
sample, so that each greedy step is exact by the Sherman-Morrison formula. Which *class* a direction is unsure about is
lost, and so is the paper's backward pass over a doubled batch. Use it with good features and few labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dalcli.scores.columns import Floats
from dalcli.strategies.diverse import Diverse, PickTask, Rows
from dalcli.strategies.points import Points, blocks
from dalcli.strategies.spaces import FisherFactors


@dataclass(frozen=True)
class InformationGreedy:
    """Forward greedy choice by the drop of tr((λI + Σ_{known ∪ batch} x xᵀ)⁻¹ F), F = mean_{pool ∪ known} x xᵀ.

    λ is ``ridge`` times the mean eigenvalue of F: the choice does not depend on the features' scale.

    Memory: six d × d matrices in float64 and 16 bytes per candidate besides the points. Time: d² per candidate once,
    then one pass over the points per pick.
    """

    ridge: float = 1.0

    def pick(self, task: PickTask) -> Rows:
        known, known_count = _information(task.known(), task.points.factors[0].shape[1])
        pool, count = _information(iter([task.points]), len(known))
        wanted = (pool + known) / (count + known_count)
        scale = float(np.trace(wanted)) / len(wanted)
        if not scale > 0:
            return np.empty(0, np.intp)
        inverse = np.linalg.inv(known + self.ridge * scale * np.eye(len(known))).astype(np.float64)
        return _greedy(task.points.factors[0], inverse, wanted, task.size)


def _greedy(points: NDArray[np.float32], inverse: Floats, wanted: Floats, size: int) -> Rows:
    """For every x keep a = xᵀ M⁻¹ x and b = xᵀ M⁻¹ F M⁻¹ x: adding x lowers the trace by b / (1 + a)."""
    middle = inverse @ wanted @ inverse
    a, b = _quadratic(points, inverse), _quadratic(points, middle)
    open_rows = np.ones(len(points), bool)
    chosen: list[int] = []
    while len(chosen) < size:
        gains = np.where(open_rows, b / (1.0 + a), -1.0)
        row = int(gains.argmax())
        if not gains[row] > 0:
            break
        chosen.append(row)
        open_rows[row] = False
        x = points[row].astype(np.float64)
        v = inverse @ x
        u = middle @ x
        scale = 1.0 / (1.0 + x @ v)
        spread = float(x @ u)
        # M⁻¹ loses scale · v vᵀ, and M⁻¹ F M⁻¹ changes with it on both sides.
        along = _products(points, np.stack([v, u], axis=1))
        a = np.maximum(a - scale * along[:, 0] ** 2, 0.0)
        b = np.maximum(b - 2.0 * scale * along[:, 0] * along[:, 1] + scale**2 * spread * along[:, 0] ** 2, 0.0)
        inverse -= scale * np.outer(v, v)
        middle += scale**2 * spread * np.outer(v, v) - scale * (np.outer(v, u) + np.outer(u, v))
    return np.array(chosen, np.intp)


def _information(parts: Iterator[Points], dimension: int) -> tuple[Floats, int]:
    """Σ x xᵀ (d, d) over all points, and how many they are."""
    total, count = np.zeros((dimension, dimension)), 0
    for points in parts:
        for rows in blocks(len(points)):
            matrix = points.factors[0][rows]
            total += matrix.T @ matrix  # float32 within a block, float64 over blocks
        count += len(points)
    return total, count


def _quadratic(points: NDArray[np.float32], matrix: Floats) -> Floats:
    """xᵀ A x for every row x."""
    result = np.empty(len(points))
    single = matrix.astype(np.float32)
    for rows in blocks(len(points)):
        x = points[rows]
        result[rows] = ((x @ single) * x).sum(axis=1, dtype=np.float64)
    return result


def _products(points: NDArray[np.float32], directions: Floats) -> Floats:
    """⟨x, v⟩ for every row x and every column v."""
    result: Floats = (points @ directions.astype(np.float32)).astype(np.float64)
    return result


def bait() -> Diverse:
    """Memory: probabilities and features of the pool (4·(K + d) bytes per sample), within ``query.memory_limit``."""
    return Diverse(FisherFactors(), InformationGreedy(), apart_from="known")
