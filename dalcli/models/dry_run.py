"""Does a model take images of this size? Answered without data, and for known models without weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from dalcli.models.spec import ModelSpec
from dalcli.runtime.modes import eval_mode


class _WeightsNowhere(TorchFunctionMode):
    """``torch.empty``, which every layer allocates its parameters with, gives shapes without memory.

    The ``meta`` device as default would do more: it also catches the small tensors that some builders compute
    their widths with (RegNet), and those need values.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.empty:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


@contextmanager
def without_weights() -> Iterator[None]:
    """Modules built inside have parameters on the ``meta`` device: no memory, no time for initialisation."""
    with _WeightsNowhere():
        yield


def output_shape(model: nn.Module, spec: ModelSpec, device: str) -> object:
    """What two blank images give in eval mode: the output's shape, or the name of its type if it is no tensor."""
    with eval_mode(model), torch.no_grad():
        output = model(torch.zeros(2, 3, *spec.image_size, device=device))
    return tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
