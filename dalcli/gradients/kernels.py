"""Kernels laid out channels-last, as images are: then no convolution has to rearrange them, forward or backward."""

from __future__ import annotations

import torch
from torch import Tensor, nn

ALIGNMENT = 64
"""Bytes: where torch's allocator lets tensors begin."""


def plain_kernels(model: nn.Module) -> list[nn.Parameter]:
    """Weights of torch's own 2d convolutions.

    Of those alone: what else takes a weight with four dimensions, a subclass that standardises it, say, may want to see
    it as a matrix without a copy, and fail on another layout.
    """
    plain = (module.weight for module in model.modules() if type(module) is nn.Conv2d)
    return [weight for weight in plain if isinstance(weight, nn.Parameter)]


def lay_out(model: nn.Module) -> None:
    """Lay out the plain kernels of ``model`` in place; values and parameters stay the same."""
    for kernel in plain_kernels(model):
        kernel.data = laid_out(kernel.data)


def laid_out(values: Tensor) -> Tensor:
    """``values`` channels-last if they have four dimensions, else as they are; a copy only where that is needed.

    Strictly, for strides and where a tensor begins decide how it is summed: what was read from a file must give the
    same bits as what was computed. (``contiguous`` leaves the strides of a dimension of 1 as they came.)
    """
    if values.data_ptr() % ALIGNMENT:
        values = values.clone()
    if values.dim() != 4:
        return values
    _, channels, height, width = values.shape
    if values.stride() == (channels * height * width, 1, channels * width, channels):
        return values
    return torch.empty_like(values, memory_format=torch.channels_last).copy_(values)
