"""Vectors that are never written down: known by factors whose inner products multiply.

⟨x_i, x_j⟩ = Π_f (A_f[i]·A_f[j] + c_f). One factor is a plain matrix. Two are a Kronecker product: BADGE's gradient
(p − e_ŷ) ⊗ [h, 1] has K·(d + 1) entries, its factors K and d. Distances need nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dalcli.scores.columns import Floats
from dalcli.strategies import backend

BLOCK = 4096
"""Rows per block of a large product: its results stay small."""
_IN_CACHE = 1 << 15
_LARGEST = 1e30
_TOLERANCE = 2e-6


@dataclass(frozen=True, eq=False)
class Points:
    """n points.

    Attributes:
        factors: matrices (n, d_f) float32, finite.
        offsets: the constant added to each factor's inner product: 1 where a bias belongs to the features.
        sq_norms: (n,) float64, ⟨x_i, x_i⟩.
    """

    factors: tuple[NDArray[np.float32], ...]
    offsets: tuple[float, ...]
    sq_norms: Floats

    def __len__(self) -> int:
        return len(self.sq_norms)

    def take(self, rows: slice | NDArray[Any]) -> Points:
        """Some of the points (a view for slices, a copy for indices)."""
        return Points(tuple(factor[rows] for factor in self.factors), self.offsets, self.sq_norms[rows])

    def inner(self, others: Points) -> NDArray[np.float32]:
        """⟨x_i, y_j⟩ (n, m) in float32."""
        return backend.products(self.factors, others.factors, self.offsets)

    def sq_distances(self, others: Points) -> Floats:
        """‖x_i − y_j‖² (n, m), exactly 0 where rounding leaves no digit of it: never negative, no noise for equals."""
        return self.sq_distances_of(self.inner(others), others)

    def sq_distances_of(self, inner: NDArray[np.float32], others: Points) -> Floats:
        """The same from inner products (n, m) that are known."""
        distances = np.empty(inner.shape)
        rows = max(1, _IN_CACHE // max(1, len(others)))
        for start in range(0, len(inner), rows):
            part = slice(start, start + rows)
            norms = self.sq_norms[part, None] + others.sq_norms
            found = np.subtract(norms, 2.0 * inner[part], out=distances[part])
            norms *= _TOLERANCE
            found[found <= norms] = 0.0
        return distances


def blocks(count: int, times: int = 1) -> Iterator[slice]:
    """Slices of at most ``times`` × :data:`BLOCK` rows."""
    for start in range(0, count, times * BLOCK):
        yield slice(start, min(start + times * BLOCK, count))


def from_factors(
    factors: Sequence[NDArray[np.float32]], offsets: Sequence[float], defined: NDArray[np.bool_] | None = None
) -> tuple[Points, NDArray[np.intp]]:
    """Points of the rows whose numbers can be computed with, and which rows those are.

    Args:
        factors: matrices (n, d_f) float32, overwritten where rows have to move up.
        offsets: one constant per factor.
        defined: (n,) False for rows to leave out. Rows with NaN or with squares beyond float32 are left out anyway.
    """
    norms = np.ones(len(factors[0]))
    for factor, offset in zip(factors, offsets, strict=True):
        norms *= _sq_norms(factor) + offset
    usable = np.isfinite(norms) & (norms < _LARGEST)
    rows = np.flatnonzero(usable if defined is None else usable & defined)
    kept = tuple(_compact(factor, rows) for factor in factors)
    return Points(kept, tuple(offsets), norms[rows]), rows


def _sq_norms(factor: NDArray[np.float32]) -> Floats:
    norms = np.empty(len(factor))
    for rows in blocks(len(factor)):
        norms[rows] = np.square(factor[rows].astype(np.float64)).sum(axis=1)
    return norms


def _compact(matrix: NDArray[np.float32], rows: NDArray[np.intp]) -> NDArray[np.float32]:
    """``matrix[rows]`` for ascending rows, in the memory of ``matrix``."""
    if len(rows) < len(matrix):
        for piece in blocks(len(rows)):
            matrix[piece] = matrix[rows[piece]]
    return matrix[: len(rows)]
