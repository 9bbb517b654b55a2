"""The vector V of ⟨g_u, V⟩, checked, and scaled where its length calls for it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dalcli.config.hashing import derive_seed
from dalcli.gradients.kernels import laid_out

MODERATE = 2.0**20
"""V is used as it is if its length lies between this and its inverse."""


@dataclass(frozen=True, slots=True)
class Direction:
    """V = ``scale`` · ``vector`` by parameter name, in each parameter's type, kernels channels-last."""

    vector: dict[str, Tensor]
    scale: float


class Directions:
    """The direction that was used last, prepared; again only where its caller's tensors have changed."""

    def __init__(self, trainable: Mapping[str, nn.Parameter]) -> None:
        self._trainable = trainable
        self._seen: list[tuple[str, Tensor, int]] = []
        self._prepared: Direction | None = None

    def of(self, direction: Mapping[str, Tensor]) -> Direction:
        """:func:`moderated`, kept while the same tensors come unchanged."""
        if any(value.is_inference() for value in direction.values()):  # changes in place would go unnoticed
            return moderated(direction, self._trainable)
        if self._prepared is None or not self._same(direction):
            self._prepared = moderated(direction, self._trainable)
            self._seen = [(name, value, value._version) for name, value in direction.items()]
        return self._prepared

    def _same(self, direction: Mapping[str, Tensor]) -> bool:
        return len(direction) == len(self._seen) and all(
            name == old_name and value is old_value and value._version == version
            for (name, value), (old_name, old_value, version) in zip(direction.items(), self._seen, strict=True)
        )


def moderated(direction: Mapping[str, Tensor], trainable: Mapping[str, nn.Parameter]) -> Direction:
    """V for the trainable parameters; ValueError where one is missing or has another shape.

    A moderate length keeps the products with tiny gradients inside float32's range, whatever the labeled set's gradient
    is. A V of such a length that is laid out already is not copied: V is as large as the model. The scale is a power
    of two, so that scaling rounds nothing.
    """
    for name, parameter in trainable.items():
        if name not in direction:
            raise ValueError(f"the direction lacks the parameter {name}")
        if direction[name].shape != parameter.shape:
            raise ValueError(
                f"the direction has shape {tuple(direction[name].shape)} for {name}, not {tuple(parameter.shape)}"
            )
    lengths = [float(torch.linalg.vector_norm(direction[name], dtype=torch.float64)) for name in trainable]
    length = math.hypot(*lengths)
    scale = 1.0 if length == 0 or 1 / MODERATE <= length <= MODERATE else _power_of_two(length)
    return Direction({name: _fitted(direction[name], parameter, scale) for name, parameter in trainable.items()}, scale)


def _power_of_two(length: float) -> float:
    """The power of two next below ``length``; 1 for inf and NaN, which nothing mends."""
    return 2.0 ** (math.frexp(length)[1] - 1) if math.isfinite(length) else 1.0


def _fitted(values: Tensor, parameter: nn.Parameter, scale: float) -> Tensor:
    """V over ``scale`` for a parameter; the caller's own tensor where nothing has to change."""
    values = values.clone() if values.is_inference() else values.detach()
    if scale != 1.0:
        values = values.double() / scale
    return laid_out(values.to(parameter.device, parameter.dtype))


class RandomDirection(Mapping[str, Tensor]):
    """A fixed Gaussian V of length near 1, the same on every device, laid out; each tensor is made anew when asked for.

    All of them at once would be as large as the model.
    """

    def __init__(self, trainable: Mapping[str, nn.Parameter]) -> None:
        self._trainable = trainable
        self._scale = max(1, sum(parameter.numel() for parameter in trainable.values())) ** -0.5

    def __getitem__(self, name: str) -> Tensor:
        parameter = self._trainable[name]
        generator = torch.Generator().manual_seed(derive_seed(0, "random direction", name))
        values = torch.randn(parameter.shape, generator=generator, dtype=torch.float32).mul_(self._scale)
        return laid_out(values.to(parameter.device, parameter.dtype))

    def __iter__(self) -> Iterator[str]:
        return iter(self._trainable)

    def __len__(self) -> int:
        return len(self._trainable)
