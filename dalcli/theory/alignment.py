"""Alignment, generalisation bound and MSE dynamics: Definition 1, Eq. 18, both sides of Eq. 19, section 4.3.

All take Θ (n, n) and label vectors Y or residuals (n, K) in float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dalcli.scores.columns import Floats


def alignment(theta: Floats, labels: Floats) -> float:
    """A(X, Y) = Tr[Yᵀ Θ Y] (Definition 1)."""
    return float(np.sum(labels * (theta @ labels)))


def g_mse(theta: Floats, outputs: Floats, labels: Floats) -> float:
    """G_MSE = Tr[(f(X) − Y)ᵀ Θ (f(X) − Y)], the training dynamics of the squared error (section 4.3)."""
    return alignment(theta, outputs - labels)


def complexity(theta: Floats, labels: Floats) -> float:
    """Tr[Yᵀ Θ⁻¹ Y] = n/2 · B²."""
    return float(np.sum(labels * np.linalg.solve(theta, labels)))


def bound(theta: Floats, labels: Floats) -> float:
    """B(X, Y) = √(2 Tr[Yᵀ Θ⁻¹ Y] / n), the dominant term of the generalisation bound (Eq. 18)."""
    return float(np.sqrt(2 * complexity(theta, labels) / len(labels)))


@dataclass(frozen=True)
class Theorem2:
    """Eq. 19: ``lower`` ≤ ``middle`` = n/2 · B² ≤ ``upper``; ``condition`` is λ_max / λ_min of Θ."""

    lower: float
    middle: float
    upper: float
    condition: float


def theorem_2(theta: Floats, labels: Floats) -> Theorem2:
    """Both sides of Eq. 19 and what is between them; Θ must be positive definite, which its ridge sees to."""
    eigenvalues = np.linalg.eigvalsh(theta)
    lower = float(np.sum(labels**2)) ** 2 / alignment(theta, labels)
    condition = float(eigenvalues[-1] / eigenvalues[0])
    return Theorem2(lower=lower, middle=complexity(theta, labels), upper=condition * lower, condition=condition)


@dataclass(frozen=True)
class Shuffled:
    """What A and B would be if the labels had nothing to do with the images: medians over shuffled labels."""

    shuffles: int
    alignment: float
    bound: float


def shuffled(theta: Floats, labels: Floats, shuffles: int, random: np.random.Generator) -> Shuffled:
    """A and B for randomly permuted rows of Y: the yardstick that gives both numbers a meaning."""
    inverse: Floats = np.linalg.inv(theta).astype(np.float64)
    found: list[tuple[float, float]] = []
    for _ in range(shuffles):
        mixed = labels[random.permutation(len(labels))]
        found.append((alignment(theta, mixed), alignment(inverse, mixed)))
    a, c = np.median(np.array(found), axis=0)
    return Shuffled(shuffles, float(a), float(np.sqrt(2 * c / len(labels))))


def subset_sums(theta: Floats, values: Floats, chosen: NDArray[np.bool_]) -> Floats:
    """Tr[Vᵀ Θ V] restricted to each of T subsets: values (n, K), ``chosen`` (T, n) -> (T,).

    With V = Y these are the alignments of the subsets, with V = f − Y their G_MSE.
    """
    products = theta * (values @ values.T)
    inside = chosen.astype(np.float64)
    sums: Floats = np.einsum("tn,tn->t", inside @ products, inside)
    return sums
