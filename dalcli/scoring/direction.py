"""The vector V of ⟨g_u, V⟩, checked and scaled to length 1."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Direction:
    """V / ‖V‖ by parameter name, in each parameter's dtype and device, and ‖V‖."""

    unit: dict[str, Tensor]
    length: float


def normalised(direction: Mapping[str, Tensor], trainable: Mapping[str, nn.Parameter]) -> Direction:
    """V for the trainable parameters; ValueError where one is missing or has another shape.

    Length 1 keeps the products with tiny gradients inside float32's range, whatever the labeled set's gradient is.
    """
    for name, parameter in trainable.items():
        if name not in direction:
            raise ValueError(f"the direction lacks the parameter {name}")
        if direction[name].shape != parameter.shape:
            raise ValueError(
                f"the direction has shape {tuple(direction[name].shape)} for {name}, not {tuple(parameter.shape)}"
            )
    length = math.sqrt(
        sum(float(torch.linalg.vector_norm(direction[name], dtype=torch.float64)) ** 2 for name in trainable)
    )
    scale = length if length > 0 else 1.0
    unit = {
        name: _laid_out(direction[name].detach().to(parameter.device, torch.float64, copy=True).div_(scale), parameter)
        for name, parameter in trainable.items()
    }
    return Direction(unit, length)


def _laid_out(values: Tensor, parameter: nn.Parameter) -> Tensor:
    """In the parameter's type, kernels channels-last, as the images that they are applied to."""
    form = torch.channels_last if values.dim() == 4 else torch.preserve_format
    return values.to(parameter.dtype, memory_format=form)


def random_direction(trainable: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """A fixed Gaussian V of length near 1, the same on every device, laid out like that of :func:`normalised`."""
    generator = torch.Generator().manual_seed(0)
    scale = max(1, sum(parameter.numel() for parameter in trainable.values())) ** -0.5
    return {
        name: _laid_out(
            torch.randn(parameter.shape, generator=generator, dtype=torch.float32).mul_(scale).to(parameter.device),
            parameter,
        )
        for name, parameter in trainable.items()
    }
