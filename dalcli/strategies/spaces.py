"""Where similarity is measured: maps from score columns to points.

A space may overwrite the arrays it is given: they are as large as the pool.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dalcli.scores.columns import Array
from dalcli.strategies.points import Points, blocks, from_factors

Mapped = tuple[Points, NDArray[np.intp]]
"""Points, and the rows of the columns that they are: rows without usable numbers are left out."""


class Space(Protocol):
    """A map from columns to points."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The score-table columns it reads."""
        ...

    def points(self, columns: Mapping[str, Array]) -> Mapped:
        """The points of n rows; overwrites the arrays of ``columns``."""
        ...


@dataclass(frozen=True)
class Features:
    """Penultimate features h; ``unit``: scaled to length 1 (all-zero rows stay 0)."""

    unit: bool = False
    columns: tuple[str, ...] = ("features",)

    def points(self, columns: Mapping[str, Array]) -> Mapped:
        features = columns["features"]
        if self.unit:
            for rows in blocks(len(features)):
                lengths = np.sqrt(np.square(features[rows].astype(np.float64)).sum(axis=1, keepdims=True))
                features[rows] /= np.where(lengths > 0, lengths, 1.0)
        return from_factors([features], [0.0])


@dataclass(frozen=True)
class Probabilities:
    """Predicted class probabilities p."""

    columns: tuple[str, ...] = ("probabilities",)

    def points(self, columns: Mapping[str, Array]) -> Mapped:
        return from_factors([columns["probabilities"]], [0.0])


@dataclass(frozen=True)
class LastLayerGradients:
    """The last layer's gradient for the pseudo-label, (p − e_ŷ) ⊗ [h, 1], as BADGE has it; held as factors."""

    columns: tuple[str, ...] = ("probabilities", "features")

    def points(self, columns: Mapping[str, Array]) -> Mapped:
        residuals = columns["probabilities"]
        for rows in blocks(len(residuals)):
            to_residuals(residuals[rows])
        return from_factors([residuals, columns["features"]], [0.0, 1.0])


@dataclass(frozen=True)
class GradientSketches:
    """Sketches of the whole network's gradient for the pseudo-label; what has no exact gradient has no point."""

    columns: tuple[str, ...] = ("sketch", "grad_sq_norm")

    def points(self, columns: Mapping[str, Array]) -> Mapped:
        return from_factors([columns["sketch"]], [0.0], defined=np.isfinite(columns["grad_sq_norm"]))


@dataclass(frozen=True)
class FisherFactors:
    """√(1 − ‖p‖²) · h: its outer product is the last layer's Fisher information, averaged over classes.

    The information of one sample is (diag p − p pᵀ) ⊗ h hᵀ, of size K·d squared; its trace over classes, 1 − ‖p‖²,
    times h hᵀ keeps which directions of h are informed and drops which classes (without bias).
    """

    columns: tuple[str, ...] = ("probabilities", "features")

    def points(self, columns: Mapping[str, Array]) -> Mapped:
        probabilities, features = columns["probabilities"], columns["features"]
        for rows in blocks(len(features)):
            p = probabilities[rows].astype(np.float64)
            trace = (p * (1.0 - p)).sum(axis=1, keepdims=True)
            features[rows] *= np.sqrt(np.maximum(trace, 0.0))
        return from_factors([features], [0.0])


def to_residuals(probabilities: NDArray[np.float32]) -> None:
    """p − e_ŷ (n, K) in place, with the pseudo-label's entry as −Σ of the others: 1 − p would lose its digits."""
    rows, top = np.arange(len(probabilities)), probabilities.argmax(axis=1)
    probabilities[rows, top] *= 0.0  # NaN stays NaN
    probabilities[rows, top] -= probabilities.sum(axis=1, dtype=np.float64)
