"""Autograd nodes that report the gradients which pass through them, and change no number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class _Anchor(torch.autograd.Function):
    """Ties a layer's output to a leaf without touching a number, and hands on the gradient that arrives there.

    Marked as modified in place rather than copied: the identity costs nothing, the output needs a gradient even
    where nothing before it does (first layers, token embeddings), and an activation that later overwrites the
    output in place cannot corrupt what is reported, which is the gradient for the value before.
    """

    @staticmethod
    def forward(ctx: Any, output: Tensor, leaf: Tensor, report: Callable[[Tensor], None]) -> Tensor:
        ctx.mark_dirty(output)
        ctx.set_materialize_grads(False)
        ctx.report = report
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, None, None]:
        (gradient,) = gradients
        if gradient is not None:
            ctx.report(gradient)
        return gradient, None, None


class _Scaled(torch.autograd.Function):
    """:class:`_Anchor` for a layer that is affine per channel: its gradient is scaled on the way to what it read.

    In place of torch's own node for batch norm, which takes three times as long in eval mode.
    """

    @staticmethod
    def forward(
        ctx: Any, output: Tensor, inputs: Tensor, scale: Tensor, leaf: Tensor, report: Callable[[Tensor], None]
    ) -> Tensor:
        ctx.mark_dirty(output)
        ctx.set_materialize_grads(False)
        ctx.scale, ctx.dtype, ctx.report = scale, inputs.dtype, report
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        before = None
        if gradient is not None:
            ctx.report(gradient)
            if ctx.needs_input_grad[1]:
                before = (gradient * ctx.scale).to(ctx.dtype)
        return None, before, None, None, None


class _Source(torch.autograd.Function):
    """A tensor that needs no gradient otherwise, and hands on the one that arrives for it."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, leaf: Tensor, report: Callable[[Tensor], None]) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.report = report
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[None, None, None]:
        (gradient,) = gradients
        if gradient is not None:
            ctx.report(gradient)
        return None, None, None


class _Mean(torch.autograd.Function):
    """A spatial mean that is known already: its backward pass hands out one number per channel, not one per pixel."""

    @staticmethod
    def forward(ctx: Any, mean: Tensor, values: Tensor) -> Tensor:
        ctx.shape = values.shape
        return mean.view_as(mean)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        (gradient,) = gradients
        return None, (gradient / ctx.shape[2:].numel()).expand(ctx.shape)


def anchored(output: Tensor, leaf: Tensor, report: Callable[[Tensor], None]) -> Tensor:
    """``output`` itself, of a call just made; backward to ``leaf`` reports the gradient that arrives for it."""
    result: Tensor = _Anchor.apply(output, leaf, report)
    return result


def source(value: Tensor, leaf: Tensor, report: Callable[[Tensor], None]) -> Tensor:
    """A view of ``value``, to be read by other calls; backward to ``leaf`` reports the gradient that arrives for it."""
    result: Tensor = _Source.apply(value, leaf, report)
    return result


def scaled(output: Tensor, inputs: Tensor, scale: Tensor, leaf: Tensor, report: Callable[[Tensor], None]) -> Tensor:
    """:func:`anchored` for what was made of ``inputs`` by an affine map whose factors are ``scale``."""
    result: Tensor = _Scaled.apply(output.detach(), inputs, scale, leaf, report)
    return result


def known_mean(mean: Tensor, values: Tensor) -> Tensor:
    """``mean`` (n, C, 1, 1) of ``values`` (n, C, H, W), with a backward pass of its own."""
    result: Tensor = _Mean.apply(mean.detach(), values)
    return result
