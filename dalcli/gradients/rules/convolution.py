"""A convolution's geometry, its patches, and torch's own weight gradient."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from dalcli.gradients.rules.cost import Outer

Pair = tuple[int, int]
# torch hands small inputs of one sample (3×3 kernels or smaller, no groups) to a kernel that is half as fast.
SMALL_INPUT = 20480


@dataclass(frozen=True, slots=True)
class Convolution:
    """A 2-d convolution with symmetric zero padding; channel counts are per group."""

    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int
    channels_in: int
    channels_out: int
    size_in: Pair
    size_out: Pair
    item: int

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """Shape of the layer's weight."""
        return (self.groups * self.channels_out, self.channels_in, *self.kernel)

    @property
    def pixels_in(self) -> int:
        """Input pixels per channel, without padding."""
        return self.size_in[0] * self.size_in[1]

    @property
    def outer(self) -> Outer:
        """The layer seen as Σ_t δ_t patch_tᵀ."""
        positions = self.size_out[0] * self.size_out[1]
        patch = self.channels_in * self.kernel[0] * self.kernel[1]
        return Outer(positions, self.channels_out, patch, self.groups, self.item)

    @property
    def halvable(self) -> bool:
        """Whether a sample is better given to torch as two, its upper and its lower half (see ``SMALL_INPUT``)."""
        small = self.groups * self.channels_in * self.pixels_in <= SMALL_INPUT and self.groups == 1
        even = self.size_out[0] % 2 == 0 and self.dilation == (1, 1)
        return small and even and self.item <= 4 and 1 < max(self.kernel) <= 3


def weight_gradient(
    layer: Convolution, inputs: Tensor, gradient: Tensor, samples: int, like: Tensor | None = None
) -> Tensor:
    """torch's own weight gradient, with ``samples`` of them folded into the groups -> (samples·G·O, C, kh, kw).

    ``like`` has that shape and lies as the inputs do: torch lays out the weight it is given, values it never reads.
    """
    shape = (samples * layer.weight_shape[0], *layer.weight_shape[1:])
    result: Tensor = torch.ops.aten.convolution_backward(
        gradient,
        inputs,
        inputs.new_empty(1).expand(shape) if like is None else like,
        None,
        layer.stride,
        layer.padding,
        layer.dilation,
        False,
        [0, 0],
        samples * layer.groups,
        [False, True, False],
    )[1]
    return result


def padded(layer: Convolution, inputs: Tensor) -> Tensor:
    """Inputs with their zero padding, channels last (n, H + 2p, W + 2p, G·C), contiguous."""
    rows, columns = layer.padding
    values = functional.pad(inputs, (columns, columns, rows, rows)) if rows or columns else inputs
    return values.permute(0, 2, 3, 1).contiguous()


def patches(layer: Convolution, inputs: Tensor) -> Tensor:
    """What each position reads: (n, G·C, H, W) -> (n, G, T, kh·kw·C), a view where patches are pixels.

    Channels are innermost, so that whole runs of memory are copied.
    """
    values = padded(layer, inputs)
    samples, height, width, channels = values.shape
    (kernel_rows, kernel_columns), (down, right) = layer.kernel, layer.dilation
    pixel, line = channels, width * channels
    windows = values.as_strided(
        (samples, *layer.size_out, kernel_rows, kernel_columns, layer.groups, layer.channels_in),
        (
            height * line,
            layer.stride[0] * line,
            layer.stride[1] * pixel,
            down * line,
            right * pixel,
            layer.channels_in,
            1,
        ),
        values.storage_offset(),
    )
    outer = layer.outer
    return windows.permute(0, 5, 1, 2, 3, 4, 6).reshape(samples, layer.groups, outer.positions, outer.columns)


def positions(layer: Convolution, gradient: Tensor) -> Tensor:
    """(n, G·O, H', W') -> (n, G, T, O)."""
    return by_group(gradient, layer.groups).mT


def by_group(values: Tensor, groups: int) -> Tensor:
    """(n, G·C, H, W) -> (n, G, C, H·W), without a copy in either memory format."""
    samples, channels, height, width = values.shape
    if values.is_contiguous(memory_format=torch.channels_last):
        last = values.permute(0, 2, 3, 1).reshape(samples, height * width, groups, channels // groups)
        return last.permute(0, 2, 3, 1)
    return values.reshape(samples, groups, channels // groups, height * width)


def halved(layer: Convolution, inputs: Tensor, gradient: Tensor) -> tuple[Convolution, Tensor, Tensor]:
    """Every sample as two, which give the same weight gradient together: inputs and gradients of 2n samples."""
    values = padded(layer, inputs)
    samples, height, width, channels = values.shape
    rows = layer.size_out[0] // 2
    reach = (rows - 1) * layer.stride[0] + layer.kernel[0]
    line = width * channels
    overlapping = values.as_strided(
        (samples, 2, reach, width, channels), (height * line, rows * layer.stride[0] * line, line, channels, 1)
    )
    last = torch.channels_last
    halves = gradient.permute(0, 2, 3, 1).reshape(2 * samples, rows, layer.size_out[1], -1).permute(0, 3, 1, 2)
    half = replace(layer, padding=(0, 0), size_in=(reach, width), size_out=(rows, layer.size_out[1]))
    inputs = overlapping.reshape(2 * samples, reach, width, channels).permute(0, 3, 1, 2)
    return half, inputs, halves.contiguous(memory_format=last)
