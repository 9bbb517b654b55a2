"""The last layer: where it is, and what goes into it (the penultimate features)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn


def find_head(model: nn.Module, num_classes: int) -> str | None:
    """Dotted name of the layer that makes the logits; None where there is no such layer.

    It is the last linear layer or 1×1 convolution (SqueezeNet) with ``num_classes`` outputs, in definition order.
    """
    found = None
    for name, module in model.named_modules():
        if _outputs(module) == num_classes:
            found = name
    return found


class PenultimateFeatures:
    """What went into the head in the newest forward pass; made by :func:`penultimate`."""

    def __init__(self) -> None:
        self._inputs: list[Tensor] = []

    def take(self, logits: Tensor) -> Tensor:
        """Features ``(n, d)`` float32, positions averaged, for the pass that gave ``logits`` ``(n, K)``.

        The logits themselves where the model has no head, or called it not exactly once for each image.
        """
        inputs, self._inputs = self._inputs, []
        if len(inputs) != 1 or len(inputs[0]) != len(logits):
            return logits.detach().float()
        return inputs[0]

    def _record(self, module: nn.Module, args: tuple[Tensor, ...]) -> None:
        features = args[0].detach().float()
        if features.ndim > 2:
            # Convolutions have channels first, linear layers last.
            features = features.flatten(2).mean(2) if isinstance(module, nn.Conv2d) else features.flatten(1, -2).mean(1)
        self._inputs.append(features)


@contextmanager
def penultimate(model: nn.Module, num_classes: int) -> Iterator[PenultimateFeatures]:
    """Capture the head's input meanwhile::

    with penultimate(model, K) as features:
        logits = model(inputs)
        h = features.take(logits)
    """
    capture = PenultimateFeatures()
    name = find_head(model, num_classes)
    if name is None:
        yield capture
        return
    handle = model.get_submodule(name).register_forward_pre_hook(capture._record)
    try:
        yield capture
    finally:
        handle.remove()


def _outputs(module: nn.Module) -> int | None:
    if isinstance(module, nn.Linear):
        return module.out_features
    if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.groups == 1:
        return module.out_channels
    return None
