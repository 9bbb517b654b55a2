"""One matrix Θ for every quantity: the class-averaged empirical tangent kernel on a fixed scale, with one ridge.

MMD, alignment, bound and G_MSE can be compared only when they are computed from the same Θ (method.md, section 4).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dalcli.data.pixels import IntArray
from dalcli.scores.columns import Floats


@dataclass(frozen=True, eq=False)
class Kernel:
    """Θ / (mean diagonal of Θ) + ridge · I over n samples: the one matrix that all quantities are computed from.

    ``values`` (n, n) float64, symmetric; ``scale``: the mean diagonal that was divided by; ``ridge`` in its units.
    """

    values: Floats
    scale: float
    ridge: float

    def of(self, rows: IntArray) -> Floats:
        """Θ restricted to some samples."""
        return self.values[np.ix_(rows, rows)]


def normalised(raw: Floats, ridge: float) -> Kernel:
    """The raw kernel (n, n) on a scale of its own, so that its size says nothing about the network's width.

    Raises:
        ValueError: it is not finite, or zero throughout: no parameter influences any logit.
    """
    scale = float(np.trace(raw)) / len(raw) if len(raw) else 0.0
    if not np.isfinite(raw).all() or scale <= 0:
        raise ValueError("the tangent kernel is zero or not finite")
    return Kernel((raw + raw.T) / (2 * scale) + ridge * np.eye(len(raw)), scale, ridge)


def one_hot(labels: IntArray, classes: int) -> Floats:
    """Y (n, K) from class positions (n,)."""
    return np.eye(classes)[labels]


def softmax(logits: Floats) -> Floats:
    """σ(f), (n, K), of logits (n, K)."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    found: Floats = shifted / shifted.sum(axis=1, keepdims=True)
    return found
