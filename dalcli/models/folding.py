"""Batch normalisation folded into the convolution before it: fewer passes over memory, the same features to rounding.

In eval mode both are linear, so their product is a convolution with other weights. Saves 7 to 25 of 100 of the forward
pass of networks that have it (docs/benchmarks.md).

A network is drawn as a graph for it, and a graph follows one way through its code: so only networks are folded whose
layers are all torch's, torchvision's or timm's, with nothing hung on them, for no trial could tell what anybody's own
code does with what it sees. What is folded must give the same numbers when tried, all the same.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

_CLOSE = 1e-4
"""Of the largest number that comes out of a channel: single precision, and no more."""
_NOTHING = 1e-6
"""Of the largest number of all: what a channel that is silent may hum."""
_KNOWN = {"torch", "torchvision", "timm", "dalcli"}
"""Packages whose layers do the same with every image."""
_LOUD = 2.0
"""Standard deviation of the noise that is tried: images normalised as ImageNet's lie within -2.2 and 2.7."""


def folded(network: nn.Module, image_size: tuple[int, int]) -> nn.Module:
    """``network`` in eval mode with every batch normalisation folded that can be, or itself where none can.

    It serves images of ``image_size`` and no gradients; its tensors are other ones. ``network`` is not changed.
    """
    if not any(isinstance(module, nn.BatchNorm2d) for module in network.modules()) or not _is_plain(network):
        return network
    try:
        copied = _with_the_same_tensors(network)
        traced = fx.GraphModule(copied, _Tracer().trace(copied))
        if _names_a_device(traced.graph) or not _fold(traced):
            return network
        images = _LOUD * torch.randn(2, 3, *image_size, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            return traced if _alike(traced(images), network(images)) else network
    except Exception:  # some networks of these packages cannot be drawn either: almost anything may be raised
        return network


def _is_plain(network: nn.Module) -> bool:
    """Whether every layer is of a known package, as it was made: a graph knows neither hooks nor patched methods."""
    return not any(
        type(module).__module__.partition(".")[0] not in _KNOWN
        or module._forward_hooks
        or module._forward_pre_hooks
        or "forward" in vars(module)
        for module in network.modules()
    )


def _names_a_device(graph: fx.Graph) -> bool:
    """Whether a device was written into the graph, which would stay when its tensors move."""
    found = []
    for node in graph.nodes:
        fx.node.map_aggregate((node.args, node.kwargs), lambda each: found.append(isinstance(each, torch.device)))
    return any(found)


class _Tracer(fx.Tracer):
    """Looks into everything but convolutions and normalisations, whose kinds of other packages included."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, nn.Conv2d | nn.BatchNorm2d) or super().is_leaf_module(m, module_qualified_name)


def _with_the_same_tensors(network: nn.Module) -> nn.Module:
    """A copy for tracing: some networks keep something of what they see, and a trace shows them no numbers."""
    return copy.deepcopy(network, {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())})


def _fold(traced: fx.GraphModule) -> int:
    """Fold what can be, in place; how many there were."""
    count, modules = 0, dict(traced.named_modules())
    for before, node in _pairs(traced.graph, modules):
        convolution, normalisation = modules[str(before.target)], modules[str(node.target)]
        assert isinstance(convolution, nn.Conv2d) and isinstance(normalisation, nn.BatchNorm2d)
        rest = _rest(normalisation)
        if rest is not None:
            product = fuse_conv_bn_eval(convolution, normalisation)
            if _is_theirs(convolution, normalisation, product, rest):
                traced.set_submodule(str(before.target), product)
                traced.set_submodule(str(node.target), rest)
                count += 1
    traced.recompile()
    return count


def _pairs(graph: fx.Graph, modules: dict[str, nn.Module]) -> Iterator[tuple[fx.Node, fx.Node]]:
    """A convolution and the normalisation that alone sees what it gives; each is called once, and used no other way."""
    taken = {str(node.target).rpartition(".")[0] for node in graph.nodes if node.op == "get_attr"}
    calls = Counter(id(modules[str(node.target)]) for node in graph.nodes if node.op == "call_module")
    for node in graph.nodes:
        before = node.args[0] if node.args else None
        if not isinstance(before, fx.Node) or {node.op, before.op} != {"call_module"}:
            continue
        first, second = modules[str(before.target)], modules[str(node.target)]
        if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
            alone = len(before.users) == 1 and calls[id(first)] == calls[id(second)] == 1
            if alone and second.running_mean is not None and not {str(before.target), str(node.target)} & taken:
                yield before, node


def _rest(normalisation: nn.BatchNorm2d) -> nn.Module | None:
    """What is left of a normalisation without its scale and shift; None: not known of this kind."""
    if type(normalisation) is nn.BatchNorm2d:
        return nn.Identity()
    # timm's BatchNormAct2d and kin: activation included.
    parts = [getattr(normalisation, name, None) for name in ("drop", "act")]
    kept = [part for part in parts if isinstance(part, nn.Module)]
    return copy.deepcopy(nn.Sequential(*kept)) if kept else None


def _is_theirs(convolution: nn.Conv2d, normalisation: nn.BatchNorm2d, product: nn.Conv2d, rest: nn.Module) -> bool:
    """Whether ``product`` and ``rest`` give what the two others do: those of other packages may do more than that."""
    if (type(convolution), type(normalisation)) == (nn.Conv2d, nn.BatchNorm2d):
        return True
    sides = [max(4, 1 + d * (k - 1)) for d, k in zip(convolution.dilation, convolution.kernel_size, strict=True)]
    noise = torch.randn(1, convolution.in_channels, *sides, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        return _alike(rest(product(noise)), normalisation(convolution(noise)))


def _alike(found: Tensor, expected: Tensor) -> bool:
    """Channel by channel (the second dimension): one that is faint is not lost beside loud ones."""
    apart, loud = (found - expected).abs(), expected.abs()
    others = [axis for axis in range(loud.ndim) if axis != 1]
    return bool((apart.amax(others) <= _CLOSE * loud.amax(others) + _NOTHING * loud.max()).all())
