"""One matrix Θ for every quantity: the class-averaged empirical tangent kernel on a fixed scale, with one ridge.

MMD, alignment, bound and G_MSE can be compared only when they are computed from the same Θ (method.md, section 4).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Kernel:
    """Θ / (mean diagonal of Θ) + ridge · I over n samples.

    ``values`` (n, n) float64, symmetric; ``scale``: the mean diagonal that was divided by; ``ridge`` in its units.
    """

    values: Matrix
    scale: float
    ridge: float

    def of(self, rows: Rows) -> Matrix:
        """Θ restricted to some samples."""
        return self.values[np.ix_(rows, rows)]


def normalised(raw: Matrix, ridge: float) -> Kernel:
    """The raw kernel (n, n) on a scale of its own, so that its size says nothing about the network's width.

    Raises:
        ValueError: it is not finite, or zero throughout: no parameter influences any logit.
    """
    scale = float(np.trace(raw)) / len(raw) if len(raw) else 0.0
    if not np.isfinite(raw).all() or scale <= 0:
        raise ValueError("the tangent kernel is zero or not finite")
    return Kernel((raw + raw.T) / (2 * scale) + ridge * np.eye(len(raw)), scale, ridge)


def one_hot(labels: NDArray[np.int64], classes: int) -> Matrix:
    """Y (n, K) from class positions (n,)."""
    return np.eye(classes)[labels]
