"""BAIT, scaled down: the batch whose Fisher information covers the pool's (Ash et al., NeurIPS 2021).

Greedy minimisation of tr(M⁻¹ F): F is the pool's mean information, M what is known plus the batch. The paper's matrices
have (K·d)² entries. Here information is averaged over classes, (1 − ‖p‖²) · h hᵀ: d² entries, and rank one per
sample, so that each greedy step is exact by the Sherman-Morrison formula. Which *class* a direction is unsure about is
lost, and so is the paper's backward pass over a doubled batch. Use it with good features and few labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dalcli.scores.columns import Floats
from dalcli.strategies.diverse import Diverse, PickTask, Rows
from dalcli.strategies.points import Points, blocks
from dalcli.strategies.spaces import FisherFactors

_FOLLOWED = 512
_AT_ONCE = 32


@dataclass(frozen=True)
class InformationGreedy:
    """Forward greedy choice by the drop of tr((λI + Σ_{known ∪ batch} x xᵀ)⁻¹ F), F = mean_{pool ∪ known} x xᵀ.

    λ is ``ridge`` times the mean eigenvalue of F: the choice does not depend on the features' scale.

    Memory: six d × d matrices in float64 and 300 bytes per candidate besides the points. Time: d² per candidate once,
    then at most one pass over the points per pick; picks that come as expected share it.
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
    """For every x keep a = xᵀ M⁻¹ x and b = xᵀ M⁻¹ F M⁻¹ x: adding x lowers the trace by b / (1 + a).

    The next picks are guessed first, by choosing among the best candidates alone; the products of all points that they
    need are then computed at once, and only a pick that is the best of all is taken.
    """
    middle = inverse @ wanted @ inverse
    state = _State(_quadratic(points, inverse), _quadratic(points, middle), np.ones(len(points), bool))
    chosen: list[int] = []
    while len(chosen) < size:
        gains = state.gains
        best = int(gains.argmax())
        if not gains[best] > 0:
            break
        front = np.sort(np.argpartition(gains, -min(_FOLLOWED, len(gains)))[-_FOLLOWED:])
        trial = _Ahead(points[front], inverse.astype(np.float32), middle.astype(np.float32), np.arange(len(front)))
        guessed = front[trial.take(state.part(front), min(_AT_ONCE, size - len(chosen)))]
        ahead = _Ahead(points, inverse, middle, np.union1d(guessed, best))
        chosen += ahead.take(state, size - len(chosen))
        inverse, middle = ahead.matrices()
    return np.array(chosen, np.intp)


@dataclass(eq=False)
class _State:
    """a and b (n,) of all points, and which are not chosen yet."""

    a: Floats
    b: Floats
    open: NDArray[np.bool_]

    @property
    def gains(self) -> Floats:
        gains: Floats = np.where(self.open, self.b / (1.0 + self.a), -1.0)
        return gains

    def part(self, rows: Rows) -> _State:
        return _State(self.a[rows], self.b[rows], self.open[rows])


class _Ahead:
    """⟨x, v⟩ and ⟨x, u⟩ of all points x, with v = M⁻¹ y and u = M⁻¹ F M⁻¹ y for some y, while M grows by some of these.

    A product for many y takes little longer than one for a single y: the points have to come from memory either way.
    What the growth of M takes from v and u are combinations of those that were added before, and so with the products.

    Memory: 8 bytes per point for each y.

    Attributes:
        waiting: the rows y that can be added, and where they are.
        added: how many were.
    """

    def __init__(self, points: NDArray[np.float32], inverse: NDArray[Any], middle: NDArray[Any], rows: Rows) -> None:
        self.waiting = {int(row): place for place, row in enumerate(rows)}
        self.added = 0
        self._inverse, self._middle = inverse, middle
        self._rows = rows.copy()
        self._y = points[rows].astype(inverse.dtype)
        self._vu = np.stack([self._y @ inverse, self._y @ middle], axis=1)
        directions = self._vu.reshape(2 * len(rows), -1).astype(np.float32)
        along = np.empty((len(directions), len(points)), np.float32)
        for part in blocks(len(points), 8):
            along[:, part] = directions @ points[part].T
        self._along = along.reshape(len(rows), 2, -1)
        self._scales, self._spreads = np.empty(len(rows)), np.empty(len(rows))

    def take(self, state: _State, size: int) -> list[int]:
        """At most ``size`` greedy choices, up to the first that is not among the waiting; ``state`` follows."""
        chosen: list[int] = []
        while len(chosen) < size:
            gains = state.gains
            row = int(gains.argmax())
            if not gains[row] > 0 or row not in self.waiting:
                break
            chosen.append(row)
            state.open[row] = False
            v, u, scale, spread = self._add(row)
            # M⁻¹ loses scale · v vᵀ, and M⁻¹ F M⁻¹ changes with it on both sides.
            state.a = np.maximum(state.a - scale * v**2, 0.0)
            state.b = np.maximum(state.b + scale * v * (scale * spread * v - 2.0 * u), 0.0)
        return chosen

    def _add(self, row: int) -> tuple[Floats, Floats, float, float]:
        """⟨x, v⟩ and ⟨x, u⟩ (n,) for the row y as M is, 1 / (1 + yᵀ v) and yᵀ u; then M grows by y."""
        k = self.added
        self._exchange(self.waiting.pop(row), k)
        y, scales = self._y[k], self._scales[:k]
        by = (_flat(self._vu, k) @ y).reshape(k, 2)
        less = scales * by[:, 0]
        more = scales * (less * self._spreads[:k] - by[:, 1])
        change = np.stack([np.stack([-less, np.zeros(k)], axis=1), np.stack([more, -less], axis=1)]).reshape(2, 2 * k)
        for products in (self._vu, self._along):
            products[k] += change.astype(products.dtype) @ _flat(products, k)
        self._scales[k], self._spreads[k] = 1.0 / (1.0 + y @ self._vu[k, 0]), y @ self._vu[k, 1]
        self.added += 1
        along_v, along_u = self._along[k].astype(np.float64)
        return along_v, along_u, float(self._scales[k]), float(self._spreads[k])

    def matrices(self) -> tuple[Floats, Floats]:
        """M⁻¹ and M⁻¹ F M⁻¹ as M is now."""
        v, u = self._vu[: self.added, 0], self._vu[: self.added, 1]
        scales = self._scales[: self.added, None]
        spread = scales**2 * self._spreads[: self.added, None]
        crossed = v.T @ (scales * u)
        inverse: Floats = self._inverse - v.T @ (scales * v)
        middle: Floats = self._middle + (v.T @ (spread * v) - crossed - crossed.T)
        return inverse, middle

    def _exchange(self, place: int, other: int) -> None:
        """The added ones come first, without gaps."""
        if int(self._rows[other]) in self.waiting:
            self.waiting[int(self._rows[other])] = place
        for array in (self._rows, self._y, self._vu, self._along):
            array[[place, other]] = array[[other, place]]


def _flat(pairs: NDArray[Any], count: int) -> NDArray[Any]:
    """The first ``count`` pairs of rows (2 · count, ·)."""
    return pairs[:count].reshape(2 * count, pairs.shape[2])


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


def bait() -> Diverse:
    """Memory: probabilities and features of the pool (4·(K + d) bytes per sample), within ``query.memory_limit``."""
    return Diverse(FisherFactors(), InformationGreedy(), apart_from="known")
