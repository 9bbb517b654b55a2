"""Sums shared by the rules, in chunks that stay in cache and within memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from dalcli.gradients.pieces import joined
from dalcli.gradients.precision import widened
from dalcli.gradients.projection import Projection
from dalcli.gradients.rules.base import Contribution


def chunks(samples: int, bytes_per_sample: int, chunk_bytes: int) -> Iterator[slice]:
    """Slices over ``samples`` whose working set stays near ``chunk_bytes`` (at least one sample each).

    Full ones and a rest, unlike ``memory.even_pieces``: these run one after the other, in cache.
    """
    step = max(1, chunk_bytes // max(1, bytes_per_sample))
    for start in range(0, samples, step):
        yield slice(start, min(start + step, samples))


def in_chunks(
    samples: int, bytes_per_sample: int, chunk_bytes: int, part: Callable[[slice], Contribution]
) -> Contribution:
    """``part`` over every chunk, put together along the samples."""
    return joined([part(piece) for piece in chunks(samples, bytes_per_sample, chunk_bytes)])


def row_dots(left: Tensor, right: Tensor) -> Tensor:
    """Σ over everything but the samples of left·right; (n, ...) twice -> (n,) float64."""
    if left.dim() == 4 and left.is_contiguous(memory_format=torch.channels_last):
        left, right = left.permute(0, 2, 3, 1), right.permute(0, 2, 3, 1)
    dots: Tensor = torch.linalg.vecdot(widened(left.flatten(1)), widened(right.flatten(1)))
    return dots.double()


def gram_dots(left: Tensor, right: Tensor) -> Tensor:
    """Σ_{t,t'} left·right of Gram matrices (n, ..., T, T) -> (n,) float64.

    The terms cancel (‖Σ_t δ_t a_tᵀ‖² is far below Σ_t ‖δ_t‖²‖a_t‖²), so rows are summed before they meet in float64,
    and rounding may leave a tiny negative where the truth is zero.
    """
    rows: Tensor = torch.linalg.vecdot(left, right)
    return rows.flatten(1).sum(1, dtype=torch.float64).clamp_min(0.0)


def factor_sketch(projection: Projection, inputs: Tensor, gradient: Tensor, chunk_bytes: int) -> Tensor:
    """Sketches (n, m) of Σ_t δ_t a_tᵀ; inputs (n, T, I), gradient (n, T, O)."""
    # Two scattered factors, their transforms (complex), and the product.
    per_sample = 6 * inputs.shape[1] * projection.dimension * inputs.element_size()
    pieces = chunks(inputs.shape[0], per_sample, chunk_bytes)
    return torch.cat([projection.of_factors(inputs[piece], gradient[piece]) for piece in pieces])
