"""The gradient of the cross-entropy: for logits without cancellation, for parameters by an ordinary backward pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dalcli.gradients.passes import logits_of
from dalcli.gradients.vjp import vjp


def residuals(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities and q = p − e_y; logits (n, K), labels (n,) -> two (n, K) float64.

    q_y is −Σ_{j≠y} p_j: as p_y − 1 it would keep no digit of a confident sample.
    """
    probabilities = torch.softmax(logits.detach().double(), dim=1)
    index = labels.unsqueeze(1)
    others = probabilities.scatter(1, index, 0.0)
    return probabilities, others.scatter(1, index, -others.sum(1, keepdim=True))


def unit_rows(q: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of length 1 (or 0) and their former lengths: (n, K) -> (n, K), (n,). torch's twin of ``scores.proxy``'s.

    Gradients are linear in q. Backward runs on unit rows, so that the squares of a confident sample's tiny
    gradients do not underflow in float32; lengths come back in float64.
    """
    lengths = torch.linalg.vector_norm(q, dim=1)
    return q / lengths.clamp_min(torch.finfo(q.dtype).tiny).unsqueeze(1), lengths


@dataclass(frozen=True, slots=True)
class GradientSum:
    """Σ ∇_θ ℓ(f(x; θ), y) of some samples, for sums over more: ``scale`` · ``gradients``, by parameter name."""

    gradients: dict[str, Tensor]
    scale: float

    def add_to(self, total: Mapping[str, Tensor]) -> None:
        """Add it to ``total``, float64 by parameter name."""
        for name, gradient in self.gradients.items():
            total[name].add_(gradient, alpha=self.scale)


def labeled_gradient(
    model: nn.Module, trainable: Mapping[str, nn.Parameter], inputs: Tensor, labels: Tensor
) -> GradientSum:
    """The sum over inputs (n, ...) with labels (n,); parameters without influence are absent.

    The gradient of the logits is given to backward explicitly: the one of torch's cross-entropy has lost a
    confident sample's digits. It is scaled to at most 1, so that it survives float32 however confident all are.
    """
    logits = logits_of(model(inputs))
    if not trainable or not logits.requires_grad:
        return GradientSum({}, 0.0)
    _, q = residuals(logits, labels)
    scale = float(torch.linalg.vector_norm(q, dim=1).max())
    if scale == 0.0:
        return GradientSum({}, 0.0)
    found = vjp(logits, q / scale, list(trainable.values()))
    gradients = {
        name: gradient.to_dense() if gradient.is_sparse else gradient
        for name, gradient in zip(trainable, found, strict=True)
        if gradient is not None
    }
    return GradientSum(gradients, scale)
