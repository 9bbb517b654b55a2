"""Batch normalisation with the statistics of a batch that is spread over ranks: what one process would compute.

torch's SyncBatchNorm does this on GPUs only. Here ranks exchange counts, means and squared deviations in the forward
pass and two sums per channel in the backward pass, once each per layer, over any backend.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm
from torch.nn.modules.batchnorm import _BatchNorm

from dalcli.runtime.ranks import Ranks

# A subclass that computes something else is left alone: what it means for a batch in parts is its own business.
_KNOWN = (_BatchNorm.forward, nn.SyncBatchNorm.forward)


@contextmanager
def global_statistics(model: nn.Module, ranks: Ranks, *, counts: bool) -> Iterator[None]:
    """BatchNorm layers in training mode use the statistics of all ranks' images meanwhile; free for one rank.

    The backward pass may come later; all ranks must run the same layers in the same order. ``counts``: whether this
    rank's images belong to the batch. A rank that has none passes stand-ins through the model, which change nothing.
    """
    modules = model.modules() if ranks.size > 1 else ()
    layers = [m for m in modules if isinstance(m, _BatchNorm) and m.training and type(m).forward in _KNOWN]
    for layer in layers:
        layer.forward = partial(_forward, layer, ranks, counts)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward  # the instance's; the class's shows again


def _forward(layer: _BatchNorm, ranks: Ranks, counts: bool, inputs: Tensor) -> Tensor:
    """Normalise ``inputs`` ``(n, C, ...)`` and update the running statistics, as the layer itself would."""
    layer._check_input_dim(inputs)  # type: ignore[no-untyped-call]  # torch's
    mean, variance, count = _statistics(inputs.detach(), ranks, counts)
    _update_running(layer, mean, variance * (count / (count - 1)))
    mean, variance = (value.to(_wide(inputs.dtype)) for value in (mean, variance))
    normalised: Tensor = _Normalise.apply(
        inputs, layer.weight, layer.bias, mean, variance, count, layer.eps, ranks, counts
    )
    return normalised


def _statistics(inputs: Tensor, ranks: Ranks, counts: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and population variance ``(C,)`` over all ranks, and the number of values each is of; float64.

    Parts are merged by their squared deviations (Chan, Golub & LeVeque 1979): no cancellation.
    """
    channels = inputs.shape[1]
    table = inputs.new_zeros((ranks.size, 1 + 2 * channels), dtype=torch.float64)
    if counts:
        # Several times faster than var_mean: the kernel BatchNorm itself uses. Population variance, in two passes.
        mean, variance = torch.batch_norm_update_stats(inputs.to(_wide(inputs.dtype)), None, None, 0.0)
        number = inputs.numel() // channels
        table[ranks.rank, 0] = number
        table[ranks.rank, 1 : 1 + channels] = mean
        table[ranks.rank, 1 + channels :] = variance.double() * number
    ranks.sum([table], soon=True)
    numbers, means, deviations = table[:, :1], table[:, 1 : 1 + channels], table[:, 1 + channels :]
    count = numbers.sum()
    mean = (numbers * means).sum(0) / count
    return mean, (deviations + numbers * (means - mean).square()).sum(0) / count, count


def _update_running(layer: _BatchNorm, mean: Tensor, variance: Tensor) -> None:
    if not layer.track_running_stats or layer.running_mean is None or layer.running_var is None:
        return
    assert layer.num_batches_tracked is not None
    layer.num_batches_tracked.add_(1)
    weight = 1 / float(layer.num_batches_tracked) if layer.momentum is None else layer.momentum
    for running, value in ((layer.running_mean, mean), (layer.running_var, variance)):
        running.mul_(1 - weight).add_(value.to(running.dtype), alpha=weight)


def _wide(dtype: torch.dtype) -> torch.dtype:
    """What sums are computed in."""
    return torch.float64 if dtype is torch.float64 else torch.float32


class _Normalise(torch.autograd.Function):
    """``(x − mean) / √(variance + ε) · weight + bias`` where mean and variance depend on every rank's ``x``.

    Gradients of ``weight`` and ``bias`` are this rank's part.
    """

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        variance: Tensor,
        count: Tensor,
        eps: float,
        ranks: Ranks,
        counts: bool,
    ) -> Tensor:
        ctx.save_for_backward(inputs, weight, mean, variance, count)
        ctx.eps, ctx.ranks, ctx.counts = eps, ranks, counts
        return batch_norm(inputs, mean, variance, weight, bias, training=False, eps=eps)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight, mean, variance, _ = ctx.saved_tensors
        # First as if the statistics were constants; the gradients of weight and bias are the sums needed below.
        to_inputs, to_weight, to_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, inputs, weight, mean, variance, None, None, False, ctx.eps, [True, True, True]
        )
        if ctx.needs_input_grad[0]:
            _add_through_statistics(ctx, to_inputs, to_weight, to_bias)
        affine = (to_weight, to_bias) if weight is not None else (None, None)
        wanted = zip((to_inputs, *affine), ctx.needs_input_grad[:3], strict=True)
        return (*(value if needed else None for value, needed in wanted), *(None,) * 6)


def _add_through_statistics(ctx: Any, to_inputs: Tensor, scaled_sum: Tensor, plain_sum: Tensor) -> None:
    """Add, in place, what reaches the inputs through mean and variance.

    With x̂ the normalised inputs and δ the gradient at the output: −weight/σ · (Σδ + x̂ Σδx̂) / count, sums over all
    ranks.
    """
    inputs, weight, mean, variance, count = ctx.saved_tensors
    sums = torch.stack([plain_sum, scaled_sum]).double()
    ctx.ranks.sum([sums], soon=True)
    if not ctx.counts:  # the statistics do not depend on stand-ins
        return
    inverse = (variance.double() + ctx.eps).rsqrt()
    factor = -inverse / count if weight is None else -inverse * weight.double() / count
    shape = (1, -1, *(1 for _ in range(inputs.ndim - 2)))
    offset, slope, center = (
        value.to(to_inputs.dtype).view(shape) for value in (factor * sums[0], factor * inverse * sums[1], mean)
    )
    to_inputs.addcmul_(inputs - center, slope).add_(offset)
