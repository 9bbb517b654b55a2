"""A pretrained network without its last layer, in memory: images in, features out."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from dalcli.data.network import NetworkRecord
from dalcli.models.folding import folded
from dalcli.models.user_models import is_user_model, users_code


class FrozenNetwork(nn.Module):
    """Maps normalised images ``(n, 3, H, W)`` float32 to features ``(n, d)`` float32: in eval mode, without gradients.

    Attributes:
        record: what it is.
        body: the network without its last layer.
        notes: what the user should know of how it was loaded.
    """

    place: Tensor

    def __init__(self, record: NetworkRecord, body: nn.Module, notes: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.record = record
        self.notes = notes
        self.body = body
        self.register_buffer("place", torch.empty(0), persistent=False)  # a body may have no tensor that tells
        self.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> FrozenNetwork:
        """Stays in eval mode, whatever is asked for."""
        super().train(False)
        return self

    @property
    def device(self) -> torch.device:
        """Where its tensors are."""
        return self.place.device

    def features(self, inputs: Tensor) -> Tensor:
        """Features of normalised images, what would enter the last layer; rows do not depend on each other.

        Raises:
            BadInputError: key ``model.name``: the user's own network failed.
        """
        users = users_code(self.record.name) if is_user_model(self.record.name) else nullcontext()
        with torch.no_grad(), users:
            return as_rows(self.body(inputs))

    def forward(self, inputs: Tensor) -> Tensor:
        """As :meth:`features`."""
        return self.features(inputs)

    def quicker(self) -> FrozenNetwork:
        """The same features to rounding, in less time; only that: its tensors are not to be kept."""
        return FrozenNetwork(self.record, folded(self.body, self.record.recipe.image_size), self.notes)

    def tensors(self) -> dict[str, Tensor]:
        """Everything the features are made with, by name."""
        return dict(self.body.state_dict())


def as_rows(features: Tensor) -> Tensor:
    """(n, d) float32, whatever shape a network gives its features."""
    return features.flatten(1).float()
