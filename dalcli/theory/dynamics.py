"""How fast gradient descent on the kernel would fit the labels: E_t of Eq. 16 with both bounds of Eq. 17."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dalcli.scores.columns import Floats
from dalcli.theory.alignment import alignment


@dataclass(frozen=True)
class ErrorAtStep:
    """E_t² after t steps, between Tr YᵀY − 2tηA and Tr YᵀY − ηA (Eq. 17). A lower bound ≤ 0 says nothing."""

    step: int
    lower: float
    squared_error: float
    upper: float


@dataclass(frozen=True)
class Convergence:
    """E_t² along ``steps`` at learning rate ``rate`` = 1/λ_max: the largest for which Theorem 1 is proved."""

    rate: float
    at_start: float
    steps: tuple[ErrorAtStep, ...]


def convergence(theta: Floats, labels: Floats, steps: Sequence[int]) -> Convergence:
    """E_t² = Σ_k Σ_i (1 − ηλ_i)^{2t} (v_iᵀ Y^k)² for each t ≥ 1; Θ (n, n), Y (n, K)."""
    eigenvalues, vectors = np.linalg.eigh(theta)
    eigenvalues = np.maximum(eigenvalues, 0.0)  # rounding may leave a zero eigenvalue negative
    rate = 1.0 / float(eigenvalues[-1])
    weights = np.sum((vectors.T @ labels) ** 2, axis=1)
    total, aligned = float(np.sum(labels**2)), alignment(theta, labels)
    remaining = np.maximum(1.0 - rate * eigenvalues, 0.0)
    found = tuple(
        ErrorAtStep(
            step=step,
            lower=total - 2 * step * rate * aligned,
            squared_error=float(np.sum(remaining ** (2 * step) * weights)),
            upper=total - rate * aligned,
        )
        for step in steps
    )
    return Convergence(rate, total, found)
