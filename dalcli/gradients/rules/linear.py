"""Linear layers with any number of positions between the samples and the features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dalcli.gradients.precision import widened
from dalcli.gradients.rules.base import Contribution, LayerCall, UnsupportedCallError, Wanted, of_gradients, register
from dalcli.gradients.rules.cost import Outer, cheapest, machine_for, matmul_routes
from dalcli.gradients.rules.sums import factor_sketch, gram_dots, in_chunks, row_dots


@register(nn.Linear)
class LinearRule:
    """Weight gradient Σ_t δ_t a_tᵀ, bias gradient Σ_t δ_t."""

    parameter_names = frozenset({"weight", "bias"})
    narrow = True

    def supports(self, module: nn.Module) -> bool:
        return True

    def contributions(self, call: LayerCall) -> Contribution:
        if call.inputs.dim() < 2:
            raise UnsupportedCallError("no sample dimension")
        samples = call.inputs.shape[0]
        inputs = call.inputs.reshape(samples, -1, call.inputs.shape[-1])
        gradient = call.gradient.reshape(samples, -1, call.gradient.shape[-1])
        total = call.nothing()
        if "weight" in call.wanted:
            total += outer_products(inputs, gradient, call.wanted["weight"], call.chunk_bytes)
        if "bias" in call.wanted:
            total += of_gradients(widened(gradient).sum(1), call.wanted["bias"])
        return total


def outer_products(inputs: Tensor, gradient: Tensor, wanted: Wanted, chunk_bytes: int) -> Contribution:
    """The contribution of Σ_t δ_t a_tᵀ; inputs a (n, T, I), gradient δ (n, T, O)."""
    if inputs.shape[1] == 1:
        lengths = [torch.linalg.vector_norm(widened(values), dim=(1, 2)).double() for values in (inputs, gradient)]
        sq_norm = (lengths[0] * lengths[1]).square()
        return Contribution(
            sq_norm, _applied(inputs, gradient, wanted.along), _sketch(inputs, gradient, wanted, chunk_bytes)
        )
    costs = matmul_routes(_outer(inputs, gradient), machine_for(inputs.device.type))
    return BY_ROUTE[cheapest(costs)](inputs, gradient, wanted, chunk_bytes)


def _by_gram(inputs: Tensor, gradient: Tensor, wanted: Wanted, chunk_bytes: int) -> Contribution:
    def part(piece: slice) -> Contribution:
        a, delta = inputs[piece], gradient[piece]
        wide = [widened(values) for values in (a, delta)]
        products = gram_dots(wide[0] @ wide[0].mT, wide[1] @ wide[1].mT)
        return Contribution(products, _applied(a, delta, wanted.along), _sketch(a, delta, wanted, chunk_bytes))

    return in_chunks(inputs.shape[0], 2 * _outer(inputs, gradient).gram_bytes, chunk_bytes, part)


def _instantiated(inputs: Tensor, gradient: Tensor, wanted: Wanted, chunk_bytes: int) -> Contribution:
    def part(piece: slice) -> Contribution:
        return of_gradients(gradient[piece].mT @ inputs[piece], wanted)

    return in_chunks(inputs.shape[0], _outer(inputs, gradient).gradient_bytes, chunk_bytes, part)


BY_ROUTE = {"gram": _by_gram, "instantiate": _instantiated}


def _outer(inputs: Tensor, gradient: Tensor) -> Outer:
    return Outer(inputs.shape[1], gradient.shape[-1], inputs.shape[-1], 1, inputs.element_size())


def _sketch(inputs: Tensor, gradient: Tensor, wanted: Wanted, chunk_bytes: int) -> Tensor | None:
    return None if wanted.projection is None else factor_sketch(wanted.projection, inputs, gradient, chunk_bytes)


def _applied(inputs: Tensor, gradient: Tensor, along: Tensor | None) -> Tensor | None:
    """⟨Σ_t δ_t a_tᵀ, V⟩ = Σ_t δ_tᵀ V a_t."""
    return None if along is None else row_dots(inputs @ along.to(inputs.dtype).mT, gradient)
