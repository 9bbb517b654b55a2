"""What one forward pass alone says about samples."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dalcli.gradients.cross_entropy import residuals
from dalcli.gradients.passes import Pass, pooled


@dataclass(frozen=True, slots=True)
class Prediction:
    """Predictions for n samples: ``probabilities`` (n, K) float32, ``residuals`` q = p − e_ŷ (n, K) float64;

    ``pseudo_label`` (n,) int64; ``features`` (n, d): what the head read, as in ``GradientScores``.
    """

    probabilities: Tensor
    residuals: Tensor
    pseudo_label: Tensor
    features: Tensor


def predicted(model: nn.Module, head: nn.Module | None, inputs: Tensor) -> Prediction:
    """Run inputs (n, ...) through ``model`` without keeping anything for a backward pass."""
    with torch.no_grad():
        logits, features = Pass(model, {}, inputs.device).forward(inputs, head)
        labels = logits.argmax(1)
        probabilities, q = residuals(logits, labels)
    return Prediction(probabilities.float(), q, labels, pooled(logits) if features is None else features)
