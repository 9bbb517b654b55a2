"""Embedding tables: a sample's gradient has a row for every token it contains."""

from __future__ import annotations

from torch import nn

from dalcli.gradients.rules.base import Contribution, LayerCall, UnsupportedCallError, register
from dalcli.gradients.rules.sums import gram_dots, in_chunks, row_dots


@register(nn.Embedding)
class EmbeddingRule:
    """Row i holds Σ_{t: token_t = i} δ_t, so ‖g‖² = Σ_{t,t'} [token_t = token_t'] δ_t·δ_t' without the table."""

    parameter_names = frozenset({"weight"})

    def supports(self, module: nn.Module) -> bool:
        # max_norm rewrites the table in forward; scale_grad_by_freq makes a gradient depend on its batch.
        return isinstance(module, nn.Embedding) and module.max_norm is None and not module.scale_grad_by_freq

    def contributions(self, call: LayerCall) -> Contribution:
        module = call.module
        assert isinstance(module, nn.Embedding)
        if call.inputs.dim() < 1:
            raise UnsupportedCallError("no sample dimension")
        samples = call.inputs.shape[0]
        tokens = call.inputs.reshape(samples, -1)
        gradient = call.gradient.reshape(samples, tokens.shape[1], -1)
        if module.padding_idx is not None:
            gradient = gradient * (tokens != module.padding_idx).unsqueeze(-1)
        wanted = call.wanted["weight"]
        along, projection = wanted.along, wanted.projection

        def part(piece: slice) -> Contribution:
            ids, delta = tokens[piece], gradient[piece]
            same = (ids.unsqueeze(1) == ids.unsqueeze(2)).to(delta.dtype)
            inner = None if along is None else row_dots(along[ids], delta)
            sketch = None if projection is None else projection.of_rows(ids, delta)
            return Contribution(gram_dots(same, delta @ delta.mT), inner, sketch)

        per_sample = 2 * tokens.shape[1] ** 2 * gradient.element_size()
        per_sample += 0 if projection is None else 3 * gradient[:1].numel() * 8
        return in_chunks(samples, per_sample, call.chunk_bytes, part)
