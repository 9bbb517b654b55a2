"""Class gradients through the scoring engine as it is: a model whose loss gradient is the gradient of v·f(x).

The engine differentiates cross-entropy. For two logits (z, 0) with z = v·f(x) − its own value, which is 0 with
gradient Jᵀv, that gradient is exactly ∓½ Jᵀv whatever the sample, so every layer rule, sketch and fallback serves.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from dalcli.gradients.passes import logits_of
from dalcli.scores.columns import Floats


class ClassProbe(nn.Module):
    """Lets the scoring engine compute class gradients: ``model`` with two logits (z, 0), z = 0 with ∇z = Jᵀv.

    ``set_weights`` sets v (K,) before a pass.
    """

    weights: Tensor

    def __init__(self, model: nn.Module, classes: int) -> None:
        super().__init__()
        self.model = model
        device = next((parameter.device for parameter in model.parameters()), None)
        # A buffer: copies of the model that the engine may work with share it, or are made anew when it changes.
        self.register_buffer("weights", torch.zeros(classes, device=device), persistent=False)

    def set_weights(self, weights: Floats) -> None:
        """From now on z = v·f(x) for v = ``weights`` (K,)."""
        with torch.no_grad():
            self.weights.copy_(torch.from_numpy(weights))

    def forward(self, inputs: Tensor) -> Tensor:
        logits = logits_of(self.model(inputs))
        combined = logits @ self.weights.to(logits.dtype)
        zero = combined - combined.detach()
        return torch.stack([zero, torch.zeros_like(zero)], dim=1)


def undo(pseudo_label: Tensor) -> Tensor:
    """The factor (n,) from the probe's loss gradients to Jᵀv: −2 where the first logit was the label, else 2."""
    return torch.where(pseudo_label == 0, -2.0, 2.0).double()


def class_groups(classes: int, groups: int, random: np.random.Generator) -> Floats:
    """Weights v_r, (R, K): classes dealt into R groups at random, each with a random sign in its group.

    Σ_r ⟨J(x)ᵀv_r, J(x')ᵀv_r⟩ is Σ_k ⟨∇f^k(x), ∇f^k(x')⟩ exactly for R = K, and in expectation for fewer groups: the
    products of different classes in one group cancel by their signs (a Rademacher estimate of the trace).
    """
    count = min(groups, classes)
    group_of = random.permutation(np.arange(classes) % count)
    signs = random.integers(2, size=classes) * 2.0 - 1.0
    return np.where(np.arange(count)[:, None] == group_of, signs, 0.0)
