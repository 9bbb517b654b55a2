"""The head of a frozen network: what is trained of it, as a model over features.

The features that enter ``linear`` are *standardised*: centred, and scaled by one number, so that their root mean square
length is d^¼ whatever the network. Both are fixed when a head is first trained.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dalcli.models.head import find_head


class FrozenHead(nn.Module):
    """Logits (n, K) from features (n, d) as the network gives them.

    Attributes:
        centre: (d,) float32, what is taken off; ``factor`` () float32, by which the rest is multiplied.
        linear: the regression.
    """

    centre: Tensor
    factor: Tensor

    def __init__(self, dimension: int, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(dimension))
        self.register_buffer("factor", torch.ones(()))
        self.linear = nn.Linear(dimension, num_classes)

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.linear((features - self.centre) * self.factor)
        return logits

    @torch.no_grad()
    def standardise(self, centre: Tensor, factor: float) -> None:
        """Fix how features enter."""
        self.centre.copy_(centre)
        self.factor.fill_(factor)

    @torch.no_grad()
    def answer(self, weights: Tensor, bias: Tensor) -> None:
        """Take the solution (K, d), (K,) of the regression."""
        self.linear.weight.copy_(weights)
        self.linear.bias.copy_(bias)

    @torch.no_grad()
    def folded(self) -> tuple[Tensor, Tensor]:
        """Weights (K, d) and bias (K,), float32, of the linear layer that does all of this by itself."""
        weights = self.linear.weight.double() * self.factor.double()
        bias = self.linear.bias.double() - weights @ self.centre.double()
        return weights.float(), bias.float()


@torch.no_grad()
def put_head(model: nn.Module, head: FrozenHead, num_classes: int) -> bool:
    """Let the last layer of a whole ``model`` say what ``head`` says of its features; new classes start with logit 0.

    False, and nothing is changed, where the last layer is not one that can.
    """
    name = find_head(model, num_classes)
    last = None if name is None else model.get_submodule(name)
    weights, bias = head.folded()
    if not isinstance(last, nn.Linear | nn.Conv2d) or last.bias is None or last.weight[0].numel() != weights.shape[1]:
        return False
    last.weight.zero_()
    last.bias.zero_()
    last.weight[: len(weights)] = weights.reshape(len(weights), *last.weight.shape[1:])
    last.bias[: len(bias)] = bias
    return True
