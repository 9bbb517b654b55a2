"""Class probabilities from logits, in float64."""

from __future__ import annotations

import numpy as np

from dalcli.theory.kernel import Matrix


def softmax(logits: Matrix) -> Matrix:
    """σ(f), (n, K), of logits (n, K)."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    found: Matrix = shifted / shifted.sum(axis=1, keepdims=True)
    return found
