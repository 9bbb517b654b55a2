"""The routes by which a convolution's ‖Σ_t δ_t patch_tᵀ‖² and ⟨·, V⟩ are computed; ``cost`` chooses among them.

All take a :class:`Convolution`, inputs (n, G·C, H, W), output gradients (n, G·O, H', W'), and what
is wanted, with V (G·O, C, kh, kw).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from dalcli.gradients.precision import widened
from dalcli.gradients.projection import scattered
from dalcli.gradients.rules.base import Contribution, Wanted, of_gradients
from dalcli.gradients.rules.convolution import Convolution, by_group, halved, patches, positions, weight_gradient
from dalcli.gradients.rules.sums import factor_sketch, gram_dots, in_chunks, row_dots


def _in_memory_order(values: Tensor, like: Tensor) -> Tensor:
    """(O, C, kh, kw) flattened in the order in which ``like`` lies in memory: no copy of ``like`` itself."""
    last = like.is_contiguous(memory_format=torch.channels_last)
    return (values.permute(0, 2, 3, 1) if last else values).reshape(-1)


def one_by_one(layer: Convolution, inputs: Tensor, gradient: Tensor, wanted: Wanted, chunk_bytes: int) -> Contribution:
    """One sample's weight gradient at a time: a processor's fastest kernels, and a gradient that stays in cache."""

    along, projection = wanted.along, wanted.projection
    norms, inners, sketches, ordered, places = [], [], [], None, None
    samples, each = inputs.shape[0], 1
    if layer.halvable and inputs.device.type == "cpu":
        layer, inputs, gradient = halved(layer, inputs, gradient)
        each = 2
    last = inputs.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    like = torch.empty(layer.weight_shape, dtype=inputs.dtype, device=inputs.device, memory_format=layout)
    for index in range(samples):
        one = slice(each * index, each * (index + 1))
        weight = widened(weight_gradient(layer, inputs[one], gradient[one], 1, like))
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
        return of_gradients(weight_gradient(layer, wide_inputs, wide_gradient, samples).reshape(samples, -1), wanted)

    return in_chunks(inputs.shape[0], layer.outer.gradient_bytes, chunk_bytes, part)


def unfolded(layer: Convolution, inputs: Tensor, gradient: Tensor, wanted: Wanted, chunk_bytes: int) -> Contribution:
    """Output gradients times patches by batched matrix products."""
    outer, wanted = layer.outer, _channels_innermost(layer, wanted)

    def part(piece: slice) -> Contribution:
        delta = positions(layer, gradient[piece])
        return of_gradients(delta.mT @ patches(layer, inputs[piece]), wanted)

    per_sample = outer.gradient_bytes + outer.groups * outer.positions * outer.columns * outer.item
    return in_chunks(inputs.shape[0], per_sample, chunk_bytes, part)


def pixel_gram(layer: Convolution, inputs: Tensor, gradient: Tensor, wanted: Wanted, chunk_bytes: int) -> Contribution:
    """Gram over positions, from the Gram over pixels: patch_t·patch_t' = Σ_offset x_{t+o}·x_{t'+o}, by shifted adds."""

    def part(piece: slice) -> Contribution:
        x = widened(by_group(inputs[piece], layer.groups))  # what cancels below must not be rounded before
        pixels = (x.mT @ x).reshape(-1, *layer.size_in, *layer.size_in)
        rows, columns = layer.padding
        if rows or columns:
            pixels = functional.pad(pixels, (columns, columns, rows, rows, columns, columns, rows, rows))
        for axis in (0, 1):
            pixels = _shifted_sum(layer, pixels, axis)
        norms = _gram_with(layer, pixels.reshape(x.shape[0], layer.groups, -1), gradient[piece])
        sketch = None
        if wanted.projection is not None:
            sketch = _patch_sketch(layer, patches(layer, inputs[piece]), gradient[piece], wanted, chunk_bytes)
        return Contribution(norms, None, sketch)

    per_sample = layer.groups * layer.item * (layer.pixels_in**2 + 2 * layer.outer.positions**2)
    norms = in_chunks(inputs.shape[0], per_sample, chunk_bytes, part)
    return Contribution(norms.sq_norm, _applied(layer, inputs, gradient, wanted.along), norms.sketch)


def patch_gram(layer: Convolution, inputs: Tensor, gradient: Tensor, wanted: Wanted, chunk_bytes: int) -> Contribution:
    """Gram over positions from the patches themselves: right where patches barely overlap."""

    def part(piece: slice) -> Contribution:
        read = widened(patches(layer, inputs[piece]))
        norms = _gram_with(layer, (read @ read.mT).flatten(2), gradient[piece])
        sketch = None
        if wanted.projection is not None:
            sketch = _patch_sketch(layer, read, gradient[piece], wanted, chunk_bytes)
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


def _channels_innermost(layer: Convolution, wanted: Wanted) -> Wanted:
    """The same, for weights whose entries are in the order of :func:`patches`: (G·O, kh, kw, C)."""
    along = None if wanted.along is None else wanted.along.permute(0, 2, 3, 1)
    projection = wanted.projection
    if projection is not None:
        places, signs = (
            values.reshape(layer.weight_shape[1:]).permute(1, 2, 0).flatten()
            for values in (projection.column_places, projection.column_signs)
        )
        projection = replace(projection, column_places=places, column_signs=signs)
    return Wanted(along, projection)


def _patch_sketch(layer: Convolution, read: Tensor, gradient: Tensor, wanted: Wanted, chunk_bytes: int) -> Tensor:
    """Sketches (n, m) of Σ_t δ_t patch_tᵀ; ``read`` are :func:`patches`."""
    projection, delta = _channels_innermost(layer, wanted).projection, positions(layer, gradient)
    assert projection is not None
    groups = [
        factor_sketch(
            projection.rows(group * layer.channels_out, layer.channels_out),
            read[:, group],
            delta[:, group],
            chunk_bytes,
        )
        for group in range(layer.groups)
    ]
    return torch.stack(groups).sum(0)


def _gram_with(layer: Convolution, patch_products: Tensor, gradient: Tensor) -> Tensor:
    """Σ_{t,t'} (patch_t·patch_t')(δ_t·δ_t'), float64 (n,); patch_products (n, G, T·T)."""
    delta = widened(positions(layer, gradient))
    return gram_dots(patch_products, (delta @ delta.mT).flatten(2))


def _applied(layer: Convolution, inputs: Tensor, gradient: Tensor, along: Tensor | None) -> Tensor | None:
    """⟨Σ_t δ_t patch_tᵀ, V⟩ by running the layer with V as its weight."""
    if along is None:
        return None
    outputs = functional.conv2d(
        inputs, along.to(inputs.dtype), None, layer.stride, layer.padding, layer.dilation, layer.groups
    )
    return row_dots(outputs, gradient)
