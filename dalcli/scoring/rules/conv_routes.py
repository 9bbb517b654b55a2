"""The routes by which a convolution's ‖Σ_t δ_t patch_tᵀ‖² and ⟨·, V⟩ are computed; ``cost`` chooses among them.

All take a :class:`Convolution`, inputs (n, G·C, H, W), output gradients (n, G·O, H', W'), and what
is wanted, with V (G·O, C, kh, kw).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from dalcli.scoring.projection import Projection, scattered
from dalcli.scoring.rules.base import Contribution, Wanted, of_gradients
from dalcli.scoring.rules.cost import Outer
from dalcli.scoring.rules.sums import factor_sketch, gram_dots, in_chunks, row_dots

Pair = tuple[int, int]


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


def _weight_gradient(
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


def _in_memory_order(values: Tensor, like: Tensor) -> Tensor:
    """(O, C, kh, kw) flattened in the order in which ``like`` lies in memory: no copy of ``like`` itself."""
    last = like.is_contiguous(memory_format=torch.channels_last)
    return (values.permute(0, 2, 3, 1) if last else values).reshape(-1)


def one_by_one(layer: Convolution, inputs: Tensor, gradient: Tensor, wanted: Wanted, chunk_bytes: int) -> Contribution:
    """One sample's weight gradient at a time: a processor's fastest kernels, and a gradient that stays in cache."""

    along, projection = wanted.along, wanted.projection
    norms, inners, sketches, ordered, places = [], [], [], None, None
    last = inputs.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    like = torch.empty(layer.weight_shape, dtype=inputs.dtype, device=inputs.device, memory_format=layout)
    for index in range(inputs.shape[0]):
        one = slice(index, index + 1)
        weight = _weight_gradient(layer, inputs[one], gradient[one], 1, like)
        norms.append(torch.linalg.vector_norm(weight))
        if along is not None:
            if ordered is None:
                ordered = _in_memory_order(along, weight)
            inners.append(torch.dot(_in_memory_order(weight, weight), ordered))
        if projection is not None:
            if places is None:
                places = [_in_memory_order(values.reshape(weight.shape), weight) for values in projection.flat()]
            sketches.append(scattered(_in_memory_order(weight, weight), places[0], places[1], projection.dimension))
    return Contribution(
        torch.stack(norms).double().square(),
        torch.stack(inners).double() if along is not None else None,
        torch.stack(sketches) if projection is not None else None,
    )


def folded(layer: Convolution, inputs: Tensor, gradient: Tensor, wanted: Wanted, chunk_bytes: int) -> Contribution:
    """Samples become groups of one wide convolution: right for depthwise layers."""

    def part(piece: slice) -> Contribution:
        wide_inputs, wide_gradient = (
            values[piece].reshape(1, -1, *values.shape[2:]).contiguous() for values in (inputs, gradient)
        )
        samples = piece.stop - piece.start
        return of_gradients(_weight_gradient(layer, wide_inputs, wide_gradient, samples).reshape(samples, -1), wanted)

    return in_chunks(inputs.shape[0], layer.outer.gradient_bytes, chunk_bytes, part)


def unfolded(layer: Convolution, inputs: Tensor, gradient: Tensor, wanted: Wanted, chunk_bytes: int) -> Contribution:
    """Patches times output gradients by batched matrix products."""
    outer = layer.outer

    def part(piece: slice) -> Contribution:
        patches = _patches(layer, inputs[piece])
        delta = _positions(layer, gradient[piece])
        return of_gradients(delta @ patches.mT, wanted)

    per_sample = outer.gradient_bytes + outer.groups * outer.positions * outer.columns * outer.item
    return in_chunks(inputs.shape[0], per_sample, chunk_bytes, part)


def pixel_gram(layer: Convolution, inputs: Tensor, gradient: Tensor, wanted: Wanted, chunk_bytes: int) -> Contribution:
    """Gram over positions, from the Gram over pixels: patch_t·patch_t' = Σ_offset x_{t+o}·x_{t'+o}, by shifted adds."""

    def part(piece: slice) -> Contribution:
        x = _by_group(inputs[piece], layer.groups)
        pixels = (x.mT @ x).reshape(-1, *layer.size_in, *layer.size_in)
        rows, columns = layer.padding
        if rows or columns:
            pixels = functional.pad(pixels, (columns, columns, rows, rows, columns, columns, rows, rows))
        for axis in (0, 1):
            pixels = _shifted_sum(layer, pixels, axis)
        norms = _gram_with(layer, pixels.reshape(x.shape[0], layer.groups, -1), gradient[piece])
        sketch = None
        if wanted.projection is not None:
            patches = _patches(layer, inputs[piece])
            sketch = None
        if wanted.projection is not None:
            sketch = _patch_sketch(layer, patches, gradient[piece], wanted.projection, chunk_bytes)
        return Contribution(norms, None, sketch)

    per_sample = layer.groups * layer.item * (layer.pixels_in**2 + 2 * layer.outer.positions**2)
    norms = in_chunks(inputs.shape[0], per_sample, chunk_bytes, part)
    return Contribution(norms.sq_norm, _applied(layer, inputs, gradient, wanted.along), norms.sketch)


def patch_gram(layer: Convolution, inputs: Tensor, gradient: Tensor, wanted: Wanted, chunk_bytes: int) -> Contribution:
    """Gram over positions from the patches themselves: right where patches barely overlap."""

    def part(piece: slice) -> Contribution:
        patches = _patches(layer, inputs[piece])
        norms = _gram_with(layer, (patches.mT @ patches).flatten(2), gradient[piece])
        sketch = None
        if wanted.projection is not None:
            sketch = _patch_sketch(layer, patches, gradient[piece], wanted.projection, chunk_bytes)
        return Contribution(norms, None, sketch)

    outer = layer.outer
    per_sample = 2 * outer.gram_bytes + outer.groups * outer.positions * outer.columns * outer.item
    norms = in_chunks(inputs.shape[0], per_sample, chunk_bytes, part)
    return Contribution(norms.sq_norm, _applied(layer, inputs, gradient, wanted.along), norms.sketch)


Route = Callable[[Convolution, Tensor, Tensor, Wanted, int], Contribution]

ROUTES: dict[str, Route] = {
    "one by one": one_by_one,
    "folded": folded,
    "unfolded": unfolded,
    "pixel gram": pixel_gram,
    "patch gram": patch_gram,
}


def _shifted_sum(layer: Convolution, pixels: Tensor, axis: int) -> Tensor:
    """Add the Gram entries of all kernel offsets along one axis; (·, h, w, h, w) shrinks along it to positions."""
    total: Tensor | None = None
    for offset in range(layer.kernel[axis]):
        start = offset * layer.dilation[axis]
        reach = slice(start, start + layer.stride[axis] * (layer.size_out[axis] - 1) + 1, layer.stride[axis])
        index = (slice(None), reach, slice(None), reach) if axis == 0 else (..., reach, slice(None), reach)
        shifted = pixels[index]
        if total is None:
            # Not in place on the first view: it would write into the Gram that the next offsets read.
            total = shifted if layer.kernel[axis] == 1 else shifted.clone()
        else:
            total += shifted
    assert total is not None
    return total


def _by_group(values: Tensor, groups: int) -> Tensor:
    """(n, G·C, H, W) -> (n, G, C, H·W), without a copy in either memory format."""
    samples, channels, height, width = values.shape
    if values.is_contiguous(memory_format=torch.channels_last):
        last = values.permute(0, 2, 3, 1).reshape(samples, height * width, groups, channels // groups)
        return last.permute(0, 2, 3, 1)
    return values.reshape(samples, groups, channels // groups, height * width)


def _positions(layer: Convolution, gradient: Tensor) -> Tensor:
    """(n, G·O, H', W') -> (n, G, O, T)."""
    return _by_group(gradient, layer.groups)


def _patches(layer: Convolution, inputs: Tensor) -> Tensor:
    """(n, G·C, H, W) -> (n, G, C·kh·kw, T)."""
    patches = functional.unfold(inputs, layer.kernel, layer.dilation, layer.padding, layer.stride)
    return patches.reshape(inputs.shape[0], layer.groups, layer.outer.columns, layer.outer.positions)


def _patch_sketch(
    layer: Convolution, patches: Tensor, gradient: Tensor, projection: Projection, chunk_bytes: int
) -> Tensor:
    """Sketches (n, m) of Σ_t δ_t patch_tᵀ; patches (n, G, C·kh·kw, T)."""
    delta = _positions(layer, gradient)
    groups = [
        factor_sketch(
            projection.rows(group * layer.channels_out, layer.channels_out),
            patches[:, group].mT,
            delta[:, group].mT,
            chunk_bytes,
        )
        for group in range(layer.groups)
    ]
    return torch.stack(groups).sum(0)


def _gram_with(layer: Convolution, patch_products: Tensor, gradient: Tensor) -> Tensor:
    """Σ_{t,t'} (patch_t·patch_t')(δ_t·δ_t'), float64 (n,); patch_products (n, G, T·T)."""
    delta = _positions(layer, gradient)
    return gram_dots(patch_products, (delta.mT @ delta).flatten(2))


def _applied(layer: Convolution, inputs: Tensor, gradient: Tensor, along: Tensor | None) -> Tensor | None:
    """⟨Σ_t δ_t patch_tᵀ, V⟩ by running the layer with V as its weight."""
    if along is None:
        return None
    outputs = functional.conv2d(inputs, along, None, layer.stride, layer.padding, layer.dilation, layer.groups)
    return row_dots(outputs, gradient)
