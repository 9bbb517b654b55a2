"""Seeded random projections of a parameter's gradient that never need the gradient itself.

A weight gradient G = Σ_t δ_t a_tᵀ (rows O, columns C) is hashed to m numbers by a tensor sketch (Pham & Pagh 2013):
entry (i, j) goes, with sign s_i·s'_j, to place (h_i + h'_j) mod m. Inner products are preserved in expectation, and the
sketch of δ aᵀ is the circular convolution of the sketches of δ and of a:

    from factors    T (O + C + m log m) per sample, by FFT, products summed over t before the one transform back
    from G itself   one signed addition per entry, where a route instantiates G anyway

so the result does not depend on which of the two a layer's route can offer, and neither costs T·O·C. Two dense
r × r projections of the same size m = r² would cost more and have a relative variance near 4/r, not of order 1/m.
Places are dealt out evenly, so entries of one row or column collide only where there are more of them than places.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from dalcli.config.hashing import derive_seed
from dalcli.gradients.precision import widened


@dataclass(frozen=True, slots=True)
class SketchSpec:
    """Which sketch: sketches can be compared only if ``seed`` and ``dimension`` (m, numbers per sample) agree."""

    seed: int
    dimension: int

    def __post_init__(self) -> None:
        if self.dimension < 1:
            raise ValueError("a sketch needs at least one dimension")


@dataclass(frozen=True, slots=True)
class Projection:
    """The linear map to m dimensions for one parameter, seen as a matrix (first dimension × all the others).

    ``row_places`` (O,) and ``column_places`` (C,) int64 in [0, m), signs float32 ±1.
    """

    dimension: int
    row_places: Tensor
    row_signs: Tensor
    column_places: Tensor
    column_signs: Tensor

    def rows(self, start: int, count: int) -> Projection:
        """The same map for the gradient of some rows of the parameter."""
        piece = slice(start, start + count)
        return Projection(
            self.dimension, self.row_places[piece], self.row_signs[piece], self.column_places, self.column_signs
        )

    def flat(self) -> tuple[Tensor, Tensor]:
        """Place and sign of every entry of the parameter, flattened: (O·C,) int64 and float32."""
        places = (self.row_places.unsqueeze(1) + self.column_places).remainder(self.dimension)
        return places.flatten(), (self.row_signs.unsqueeze(1) * self.column_signs).flatten()

    def of_gradients(self, gradients: Tensor) -> Tensor:
        """Sketches (n, m) of explicit gradients (n, ...)."""
        rows = gradients.reshape(gradients.shape[0], -1)
        return scattered(rows, *self.flat(), self.dimension)

    def of_factors(self, inputs: Tensor, gradient: Tensor) -> Tensor:
        """Sketches (n, m) of Σ_t δ_t a_tᵀ; inputs a (n, T, C), gradient δ (n, T, O)."""
        read = widened(scattered(inputs, self.column_places, self.column_signs, self.dimension))
        delta = widened(scattered(gradient, self.row_places, self.row_signs, self.dimension))
        together = (torch.fft.rfft(read) * torch.fft.rfft(delta)).sum(1)
        result: Tensor = torch.fft.irfft(together, n=self.dimension)
        return result

    def of_rows(self, rows: Tensor, gradient: Tensor) -> Tensor:
        """Sketches (n, m) of tables whose row rows[·, t] receives δ_t; rows (n, T) int64, gradient (n, T, C)."""
        places = (self.row_places[rows].unsqueeze(2) + self.column_places).remainder(self.dimension)
        signed = gradient * (self.row_signs[rows].unsqueeze(2) * self.column_signs).to(gradient.dtype)
        empty = gradient.new_zeros(gradient.shape[0], self.dimension)
        return empty.scatter_add_(1, places.flatten(1), signed.flatten(1))


def scattered(values: Tensor, places: Tensor, signs: Tensor, dimension: int) -> Tensor:
    """Signed sums by place along the last dimension: (..., p) -> (..., m)."""
    signed = values * signs.to(values.dtype)
    return values.new_zeros(*values.shape[:-1], dimension).scatter_add_(-1, places.expand(signed.shape), signed)


class Sketcher:
    """Projections of all parameters of a model, independent of each other; a sample's sketch is their sum.

    For independent maps the cross terms vanish in expectation, and the sum has at most the variance of sketches
    laid side by side in the same m numbers: layers share all m places instead of owning few.
    """

    def __init__(self, spec: SketchSpec) -> None:
        self.spec = spec
        self._projections: dict[tuple[str, tuple[int, ...], torch.device], Projection] = {}

    def projection(self, name: str, shape: torch.Size | tuple[int, ...], device: torch.device) -> Projection:
        """The map for the parameter ``name``; the same on every device."""
        key = (name, tuple(shape), device)
        if key not in self._projections:
            rows = shape[0] if len(shape) > 1 else 1
            columns = torch.Size(shape).numel() // max(1, rows)
            drawn = (self._dealt(name, "rows", rows), self._dealt(name, "columns", columns))
            (row_places, row_signs), (column_places, column_signs) = drawn
            self._projections[key] = Projection(
                self.spec.dimension,
                *(value.to(device) for value in (row_places, row_signs, column_places, column_signs)),
            )
        return self._projections[key]

    def of(self, gradients: Mapping[str, Tensor]) -> Tensor:
        """The sketch (m,) float64 of one gradient by parameter name, say G_S."""
        found = torch.zeros(self.spec.dimension, dtype=torch.float64)
        for name, gradient in gradients.items():
            wide = gradient.detach().double()[None]
            found += self.projection(name, gradient.shape, gradient.device).of_gradients(wide)[0].cpu()
        return found

    def _dealt(self, name: str, what: str, count: int) -> tuple[Tensor, Tensor]:
        """Places, every one used equally often but for the remainder, and signs."""
        m = self.spec.dimension
        generator = torch.Generator().manual_seed(derive_seed(self.spec.seed, "sketch", m, name, what))
        slots = torch.randperm(-(-count // m) * m, generator=generator)[:count]
        signs = torch.randint(2, (count,), generator=generator).mul(2).sub(1)
        return slots.remainder(m), signs.float()
