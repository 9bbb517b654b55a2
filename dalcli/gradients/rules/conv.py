"""1-d and 2-d convolutions: stride, every padding mode, dilation, groups, depthwise."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from dalcli.gradients.precision import widened
from dalcli.gradients.rules.base import Contribution, LayerCall, UnsupportedCallError, Wanted, of_gradients, register
from dalcli.gradients.rules.conv_routes import ROUTES
from dalcli.gradients.rules.convolution import Convolution
from dalcli.gradients.rules.cost import cheapest, convolution_routes, machine_for


@register(nn.Conv1d, nn.Conv2d)
class ConvRule:
    """Weight gradient Σ_t δ_t patch_tᵀ by the cheapest route, bias gradient Σ_t δ_t."""

    parameter_names = frozenset({"weight", "bias"})
    narrow = True

    def supports(self, module: nn.Module) -> bool:
        return True

    def contributions(self, call: LayerCall) -> Contribution:
        module = call.module
        assert isinstance(module, nn.Conv1d | nn.Conv2d)
        if call.inputs.dim() != 2 + len(module.kernel_size):
            raise UnsupportedCallError("no sample dimension")
        total = call.nothing()
        if "bias" in call.wanted:
            total += of_gradients(widened(call.gradient).flatten(2).sum(2), call.wanted["bias"])
        if "weight" in call.wanted:
            total += _weight(call, module)
        return total


def _weight(call: LayerCall, module: nn.Conv1d | nn.Conv2d) -> Contribution:
    layer, inputs = as_plane(call, module)
    wanted = call.wanted["weight"]
    if wanted.along is not None:
        wanted = Wanted(wanted.along.reshape(layer.weight_shape), wanted.projection)
    costs = convolution_routes(
        layer.outer, layer.pixels_in, layer.channels_in, layer.kernel, machine_for(inputs.device.type)
    )
    gradient = call.gradient if call.gradient.dim() == 4 else call.gradient.unsqueeze(2)
    return ROUTES[cheapest(costs)](layer, inputs, gradient, wanted, call.chunk_bytes)


def as_plane(call: LayerCall, module: nn.Conv1d | nn.Conv2d) -> tuple[Convolution, Tensor]:
    """The layer as a 2-d convolution with symmetric zero padding, and the input it then reads.

    A line is a plane of height 1. Padding that is not zeros, or not the same on both sides, is put into the input.
    """
    before, after = _padding(module)
    inputs, mode = call.inputs, module.padding_mode
    if mode != "zeros" or before != after:
        pairs = [side for pair in reversed(list(zip(before, after, strict=True))) for side in pair]
        inputs = functional.pad(inputs, pairs, mode="constant" if mode == "zeros" else mode)
        before = (0,) * len(before)
    line = inputs.dim() == 3
    if line:
        inputs = inputs.unsqueeze(2)

    def pair(values: tuple[int, ...], missing: int) -> tuple[int, int]:
        return (missing, values[0]) if line else (values[0], values[1])

    height, width = inputs.shape[2:]
    sizes = call.gradient.shape[2:]
    layer = Convolution(
        kernel=pair(module.kernel_size, 1),
        stride=pair(module.stride, 1),
        padding=pair(before, 0),
        dilation=pair(module.dilation, 1),
        groups=module.groups,
        channels_in=module.in_channels // module.groups,
        channels_out=module.out_channels // module.groups,
        size_in=(height, width),
        size_out=pair(tuple(sizes), 1),
        item=inputs.element_size(),
    )
    return layer, inputs


def _padding(module: nn.Conv1d | nn.Conv2d) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Padding before and after each spatial dimension; 'same' puts the odd one after, as torch does."""
    if module.padding == "valid":
        none = (0,) * len(module.kernel_size)
        return none, none
    if module.padding == "same":
        totals = [dilation * (side - 1) for dilation, side in zip(module.dilation, module.kernel_size, strict=True)]
        before = tuple(total // 2 for total in totals)
        return before, tuple(total - half for total, half in zip(totals, before, strict=True))
    sides = tuple(int(side) for side in module.padding)
    return sides, sides
