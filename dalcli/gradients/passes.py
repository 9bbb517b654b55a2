"""One forward and one backward pass in which layers report what they read and what gradient they received."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from dalcli.gradients.anchors import anchored, known_mean, scaled
from dalcli.gradients.precision import widened
from dalcli.gradients.vjp import vjp
from dalcli.runtime.modes import eval_mode

OnForward = Callable[[Tensor, Tensor], Callable[[Tensor], None] | None]


def logits_of(output: Any) -> Tensor:
    """The logits in what a model returns: a tensor, a record or mapping with ``logits``, else the first entry."""
    if isinstance(output, Tensor):
        return output
    named = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", None)
    if isinstance(named, Tensor):
        return named
    entries = list(output.values()) if isinstance(output, Mapping) else output
    if isinstance(entries, tuple | list) and entries and isinstance(entries[0], Tensor):
        return entries[0]
    raise TypeError(f"the model returned {type(output).__name__}, in which no logits were found")


def shape_of(inputs: Tensor) -> tuple[object, ...]:
    """What a batch has in common with others of the same kind, whatever their size."""
    return (tuple(inputs.shape[1:]), inputs.dtype, inputs.device)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode with gradients enabled and attention's fused inference path off; every mode is restored.

    The fused path skips the modules that hooks watch, and has no gradient.
    """
    fused = torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        with eval_mode(model), torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


@contextmanager
def frozen(parameters: list[nn.Parameter]) -> Iterator[None]:
    """No gradients for these parameters meanwhile: backward computes input gradients only."""
    before = [parameter.requires_grad for parameter in parameters]
    try:
        for parameter in parameters:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter, flag in zip(parameters, before, strict=True):
            parameter.requires_grad_(flag)


def _scale(module: nn.Module, inputs: Tensor) -> Tensor | None:
    """What a batch norm in eval mode multiplies each channel by (1, C, 1, ...), None for any other module."""
    if type(module) not in {nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d}:
        return None
    assert isinstance(module, nn.modules.batchnorm._BatchNorm)
    if module.training or module.running_var is None or not inputs.requires_grad:
        return None
    scale = torch.rsqrt(module.running_var + module.eps)
    if module.affine:
        scale = scale * module.weight.detach()
    return scale.view(1, -1, *[1] * (inputs.dim() - 2))


def _watch(module: nn.Module, leaf: Tensor, on_forward: OnForward) -> RemovableHandle:
    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        inputs = args[0] if args else next(iter(kwargs.values()), None)
        if not isinstance(inputs, Tensor) or not isinstance(output, Tensor):
            return None
        report = on_forward(inputs.detach(), output)
        if report is None or not torch.is_grad_enabled():
            return None
        scale = _scale(module, inputs)
        if scale is None:
            return anchored(output, leaf, report)
        return scaled(output, inputs, scale, leaf, report)

    return module.register_forward_hook(hook, with_kwargs=True)


def _planar(values: Tensor) -> bool:
    """Whether images (n, C, H, W) lie channels-last, and only so."""
    last = values.dim() == 4 and values.is_contiguous(memory_format=torch.channels_last)
    return last and not values.is_contiguous()


def _channels_last(gradient: Tensor) -> Tensor:
    spread = gradient.numel() > 0 and gradient.stride()[2:] == (0, 0)  # fits any layout, and takes no memory
    return gradient if spread else gradient.contiguous(memory_format=torch.channels_last)


def _spread_mean(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
    """The mean over all positions, whose own backward pass writes every pixel of the gradient, and channels-first."""
    values = args[0] if args else None
    if not isinstance(values, Tensor) or not isinstance(output, Tensor) or not values.requires_grad:
        return None
    if values.dim() != 4 or output.shape[2:] != (1, 1):
        return None
    return known_mean(output, values)


def _keep_layout(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
    """Have the gradient for a channels-last output arrive channels-last.

    The backward pass of a spatial mean hands out channels-first gradients, and every elementwise step before it
    then walks two layouts at once: three times the time of a copy.
    """
    if isinstance(output, Tensor) and output.requires_grad and _planar(output):
        output.register_hook(_channels_last)  # type: ignore[no-untyped-call]


@contextmanager
def _wide(head: nn.Module, device_type: str) -> Iterator[None]:
    """Keep the logits out of autocast: 1 − p of a confident sample is the difference between a few of them."""
    stack = ExitStack()

    def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        stack.enter_context(torch.autocast(device_type, enabled=False))
        wide = [widened(value) if isinstance(value, Tensor) else value for value in args]
        return tuple(wide), {key: widened(v) if isinstance(v, Tensor) else v for key, v in kwargs.items()}

    def after(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        stack.close()

    handles = [
        head.register_forward_pre_hook(before, with_kwargs=True),
        head.register_forward_hook(after, always_call=True),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class Pass:
    """A forward pass through ``model`` with watched layers, then one backward pass to them.

    ``watched`` maps modules to a callback that gets (inputs, output) when the module has run and may return a
    second callback for the gradient of that output. Backward ends at ``leaf``.
    Use inside :func:`evaluating` and :func:`frozen`.
    """

    def __init__(self, model: nn.Module, watched: Mapping[nn.Module, OnForward], device: torch.device) -> None:
        self.leaf = torch.zeros((), device=device, requires_grad=True)
        self._model = model
        self._watched = watched

    def forward(
        self, inputs: Tensor, head: nn.Module | None, watcher: AbstractContextManager[object] | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Logits (n, K) with their graph, and what ``head`` read, None if it did not run.

        ``watcher`` is entered around the model's own computation.
        """
        read: list[Tensor] = []

        def before_head(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            values = args[0] if args else next(iter(kwargs.values()), None)
            if isinstance(values, Tensor):
                read[:] = [pooled(widened(values.detach()))]

        with ExitStack() as hooks:
            for module, on_forward in self._watched.items():
                hooks.callback(_watch(module, self.leaf, on_forward).remove)
            for module in self._model.modules():
                if type(module) is nn.AdaptiveAvgPool2d:
                    hooks.callback(module.register_forward_hook(_spread_mean).remove)
                elif module not in self._watched and not any(True for _ in module.children()):
                    hooks.callback(module.register_forward_hook(_keep_layout).remove)
            if head is not None:
                hooks.callback(head.register_forward_pre_hook(before_head, with_kwargs=True).remove)
                if torch.is_autocast_enabled(inputs.device.type):
                    hooks.enter_context(_wide(head, inputs.device.type))
            if watcher is not None:
                hooks.enter_context(watcher)
            logits = logits_of(self._model(inputs))
        return logits, read[0] if read else None

    def backward(self, logits: Tensor, seeds: Tensor) -> None:
        """Run the gradient of Σ logits·seeds back to every watched layer that influences the logits."""
        if logits.requires_grad:
            vjp(logits, seeds, [self.leaf])


def pooled(values: Tensor) -> Tensor:
    """Features (n, d): a copy, averaged over positions where there are any ((n, d, H, W) maps, (n, T, d) tokens)."""
    if values.dim() == 3:
        return values.mean(1)
    return values.clone() if values.dim() <= 2 else values.flatten(2).mean(2)


def influential(logits: Tensor, parameters: Mapping[str, nn.Parameter]) -> set[str]:
    """The names of those parameters that the graph of ``logits`` reaches; all others have gradient zero."""
    names = {id(parameter): name for name, parameter in parameters.items()}
    found: set[str] = set()
    pending: list[Any] = [logits.grad_fn]
    seen: set[Any] = set()
    while pending:
        node = pending.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)
        if variable is not None and id(variable) in names:
            found.add(names[id(variable)])
        pending.extend(parent for parent, _ in node.next_functions)
    return found
