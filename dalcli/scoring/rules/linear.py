"""Linear layers with any number of positions between the samples and the features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dalcli.scoring.rules.base import Contribution, LayerCall, UnsupportedCallError, Wanted, of_gradients, register
from dalcli.scoring.rules.cost import Outer, cheapest, machine_for, matmul_routes
from dalcli.scoring.rules.sums import factor_sketch, gram_dots, in_chunks, row_dots


@register(nn.Linear)
class LinearRule:
    """Weight gradient Σ_t δ_t a_tᵀ, bias gradient Σ_t δ_t."""

    parameter_names = frozenset({"weight", "bias"})

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
            total += of_gradients(gradient.sum(1), call.wanted["bias"])
        return total


def outer_products(inputs: Tensor, gradient: Tensor, wanted: Wanted, chunk_bytes: int) -> Contribution:
    """The contribution of Σ_t δ_t a_tᵀ; inputs a (n, T, I), gradient δ (n, T, O)."""
    along, projection = wanted.along, wanted.projection

    def sketch(piece: slice) -> Tensor | None:
        return None if projection is None else factor_sketch(projection, inputs[piece], gradient[piece], chunk_bytes)

    samples, positions, columns = inputs.shape
    rows = gradient.shape[-1]
    if positions == 1:
        lengths = [torch.linalg.vector_norm(values, dim=(1, 2)).double() for values in (inputs, gradient)]
        sq_norm = (lengths[0] * lengths[1]).square()
        return Contribution(sq_norm, _applied(inputs, gradient, along), sketch(slice(None)))
    outer = Outer(positions, rows, columns, 1, inputs.element_size())
    if cheapest(matmul_routes(outer, machine_for(inputs.device.type))) == "gram":

        def by_gram(piece: slice) -> Contribution:
            a, delta = inputs[piece], gradient[piece]
            return Contribution(gram_dots(a @ a.mT, delta @ delta.mT), _applied(a, delta, along), sketch(piece))

        return in_chunks(samples, 2 * outer.gram_bytes, chunk_bytes, by_gram)
    return in_chunks(
        samples,
        outer.gradient_bytes,
        chunk_bytes,
        lambda piece: of_gradients(gradient[piece].mT @ inputs[piece], wanted),
    )


def _applied(inputs: Tensor, gradient: Tensor, along: Tensor | None) -> Tensor | None:
    """⟨Σ_t δ_t a_tᵀ, V⟩ = Σ_t δ_tᵀ V a_t."""
    return None if along is None else row_dots(inputs @ along.mT, gradient)
