"""The gradient of the cross-entropy for the logits, q = p − e_y, without cancellation."""

from __future__ import annotations

import torch
from torch import Tensor


def residuals(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities and q = p − e_y; logits (n, K), labels (n,) -> two (n, K) float64.

    q_y is −Σ_{j≠y} p_j: as p_y − 1 it would keep no digit of a confident sample.
    """
    probabilities = torch.softmax(logits.detach().double(), dim=1)
    index = labels.unsqueeze(1)
    others = probabilities.scatter(1, index, 0.0)
    return probabilities, others.scatter(1, index, -others.sum(1, keepdim=True))


def unit_rows(q: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of length 1 (or 0) and their former lengths: (n, K) -> (n, K), (n,).

    Gradients are linear in q. Backward runs on unit rows, so that the squares of a confident sample's tiny
    gradients do not underflow in float32; lengths come back in float64.
    """
    lengths = torch.linalg.vector_norm(q, dim=1)
    return q / lengths.clamp_min(torch.finfo(q.dtype).tiny).unsqueeze(1), lengths
