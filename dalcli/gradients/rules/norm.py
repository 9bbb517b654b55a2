"""Normalisation layers in eval mode: weight gradient Σ_t δ_t x̂_t, bias gradient Σ_t δ_t, elementwise per channel."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from dalcli.gradients.rules.base import Contribution, LayerCall, UnsupportedCallError, of_gradients, register
from dalcli.gradients.rules.sums import chunks


def _per_channel(values: Tensor) -> Tensor:
    """Sum (n, C, ...) over everything after the channels -> (n, C)."""
    return values if values.dim() == 2 else values.flatten(2).sum(2)


def _affine(call: LayerCall, weight: Tensor | None, bias: Tensor | None) -> Contribution:
    """The contributions of explicit weight and bias gradients, each (n, *parameter shape) or None."""
    total = call.nothing()
    if weight is not None:
        total += of_gradients(weight, call.wanted["weight"])
    if bias is not None:
        total += of_gradients(bias, call.wanted["bias"])
    return total


@register(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
class BatchNormRule:
    """Running statistics make the layer affine per channel; without them samples would mix, and no rule applies."""

    parameter_names = frozenset({"weight", "bias"})

    def supports(self, module: nn.Module) -> bool:
        return isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None

    def contributions(self, call: LayerCall) -> Contribution:
        module = call.module
        assert isinstance(module, nn.modules.batchnorm._BatchNorm)
        assert module.running_mean is not None and module.running_var is not None
        weight = None
        if "weight" in call.wanted:
            mean = module.running_mean.view(1, -1, *[1] * (call.inputs.dim() - 2))
            # The mean leaves before the product: Σ δx − μ Σ δ would cancel where |μ| is far above σ.
            sums = [
                _per_channel((call.inputs[piece] - mean).mul_(call.gradient[piece]))
                for piece in chunks(call.inputs.shape[0], call.inputs[:1].nbytes, call.chunk_bytes // 2)
            ]
            weight = torch.cat(sums) * torch.rsqrt(module.running_var + module.eps)
        return _affine(call, weight, _per_channel(call.gradient) if "bias" in call.wanted else None)


@register(nn.GroupNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
class GroupNormRule:
    """Statistics of each sample alone; instance norm is group norm with one channel per group."""

    parameter_names = frozenset({"weight", "bias"})

    def supports(self, module: nn.Module) -> bool:
        return not getattr(module, "track_running_stats", False)

    def contributions(self, call: LayerCall) -> Contribution:
        module = call.module
        if call.inputs.dim() < 3 and not isinstance(module, nn.GroupNorm):
            raise UnsupportedCallError("instance norm over an unbatched input")
        groups = module.num_groups if isinstance(module, nn.GroupNorm) else call.inputs.shape[1]
        weight = None
        if "weight" in call.wanted:
            assert isinstance(module.eps, float)
            normalised = functional.group_norm(call.inputs, int(groups), eps=module.eps)
            weight = _per_channel(normalised * call.gradient)
        return _affine(call, weight, _per_channel(call.gradient) if "bias" in call.wanted else None)


def _per_feature(call: LayerCall, normalised: Tensor | None) -> Contribution:
    """Sum over the positions between the samples and the normalised dimensions."""
    module = call.module
    assert isinstance(module, nn.LayerNorm | nn.RMSNorm)
    between = tuple(range(1, call.inputs.dim() - len(module.normalized_shape)))

    def summed(values: Tensor) -> Tensor:
        return values.sum(between) if between else values

    weight = None if normalised is None else summed(normalised * call.gradient)
    return _affine(call, weight, summed(call.gradient) if "bias" in call.wanted else None)


def _require_samples(call: LayerCall, shape: tuple[int, ...]) -> None:
    if call.inputs.dim() <= len(shape):
        raise UnsupportedCallError("the sample dimension itself is normalised")


@register(nn.LayerNorm)
class LayerNormRule:
    """Weights per feature, positions summed."""

    parameter_names = frozenset({"weight", "bias"})

    def supports(self, module: nn.Module) -> bool:
        return True

    def contributions(self, call: LayerCall) -> Contribution:
        module = call.module
        assert isinstance(module, nn.LayerNorm)
        _require_samples(call, module.normalized_shape)
        wanted = "weight" in call.wanted
        return _per_feature(
            call, functional.layer_norm(call.inputs, module.normalized_shape, eps=module.eps) if wanted else None
        )


@register(nn.RMSNorm)
class RMSNormRule:
    """Layer norm without mean and without bias."""

    parameter_names = frozenset({"weight"})

    def supports(self, module: nn.Module) -> bool:
        return True

    def contributions(self, call: LayerCall) -> Contribution:
        module = call.module
        assert isinstance(module, nn.RMSNorm)
        _require_samples(call, module.normalized_shape)
        return _per_feature(call, functional.rms_norm(call.inputs, list(module.normalized_shape), eps=module.eps))


@register("torchvision.models.convnext.LayerNorm2d")
class ChannelLayerNormRule:
    """torchvision's ConvNeXt norm: layer norm over the channels of (n, C, H, W), weights per channel."""

    parameter_names = frozenset({"weight", "bias"})

    def supports(self, module: nn.Module) -> bool:
        return True

    def contributions(self, call: LayerCall) -> Contribution:
        module = call.module
        assert isinstance(module, nn.LayerNorm)
        weight = None
        if "weight" in call.wanted:
            last = functional.layer_norm(call.inputs.permute(0, 2, 3, 1), module.normalized_shape, eps=module.eps)
            weight = (last * call.gradient.permute(0, 2, 3, 1)).sum((1, 2))
        return _affine(call, weight, _per_channel(call.gradient) if "bias" in call.wanted else None)
