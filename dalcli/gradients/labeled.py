"""One chunk of the labeled set's gradient by an ordinary backward pass."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dalcli.gradients.passes import logits_of
from dalcli.gradients.residuals import residuals


def add_gradient(
    model: nn.Module, trainable: Mapping[str, nn.Parameter], inputs: Tensor, labels: Tensor, total: dict[str, Tensor]
) -> None:
    """Add Σ ∇_θ ℓ(f(x; θ), y) over inputs (n, ...) and labels (n,) to ``total``, float64 by parameter name.

    The gradient of the logits is given to backward explicitly: the one of torch's cross-entropy has lost a
    confident sample's digits. It is scaled to at most 1, so that it survives float32 however confident all are.
    """
    logits = logits_of(model(inputs))
    if not trainable or not logits.requires_grad:
        return
    _, q = residuals(logits, labels)
    scale = float(torch.linalg.vector_norm(q, dim=1).max())
    if scale == 0.0:
        return
    gradients = torch.autograd.grad(
        logits, list(trainable.values()), grad_outputs=(q / scale).to(logits.dtype), allow_unused=True
    )
    for name, gradient in zip(trainable, gradients, strict=True):
        if gradient is not None:
            total[name].add_(gradient.to_dense() if gradient.is_sparse else gradient, alpha=scale)
