"""The network as it is handed over: from normalised images to the probabilities of today's classes, in one graph."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dalcli.models.frozen_head import FrozenHead


class WithHead(nn.Module):
    """A frozen network and the head that was trained on its features, where both cannot be one network."""

    def __init__(self, body: nn.Module, head: FrozenHead) -> None:
        super().__init__()
        self.body, self.head = body, head

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, K) of normalised images (n, 3, H, W)."""
        logits: Tensor = self.head(self.body(images).flatten(1).float())
        return logits


class Deployed(nn.Module):
    """Logits and probabilities (n, C) of normalised images (n, 3, H, W); C: today's classes that the network knows.

    A class that others were merged into gets log Σ e^z of its parts, which is the sum of their probabilities; then the
    logits are divided by the temperature.
    """

    def __init__(self, network: nn.Module, parts: Sequence[Sequence[int]], temperature: float) -> None:
        super().__init__()
        self.network = network
        self.parts = [list(part) for part in parts]
        self.temperature = temperature

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        logits = self.network(images).float()
        if any(len(part) > 1 for part in self.parts):
            logits = torch.stack([logits[:, part].logsumexp(1) for part in self.parts], 1)
        return logits, (logits / self.temperature).softmax(1)
