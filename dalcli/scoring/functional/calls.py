"""Looking at what torch's functions are called with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

from torch import Tensor
from torch.nn import functional


def name_of(function: Callable[..., Any]) -> str:
    """``add`` for ``torch.add`` and ``Tensor.add`` alike; ``rsub`` for ``Tensor.__rsub__``; ``add_`` in place."""
    name = getattr(function, "__name__", "")
    return name[2:-2] if name.startswith("__") and name.endswith("__") else name


def tensors_in(values: Any) -> Iterator[Tensor]:
    """The tensors in arguments or results, nested sequences and mappings included, in order."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, tuple | list):
        for value in values:
            yield from tensors_in(value)
    elif isinstance(values, dict):
        for value in values.values():
            yield from tensors_in(value)


def _never(*_: Any) -> bool:
    return False


def opened(function: Callable[..., Any]) -> Callable[..., Any] | None:
    """A composite function of torch as it is, except that the calls inside it can be seen; None for any other.

    Under a mode such a function hands itself to the mode whole; this copy does not ask.
    """
    if function is not functional.multi_head_attention_forward or not isinstance(function, FunctionType):
        return None
    copy = FunctionType(
        function.__code__,
        {**function.__globals__, "has_torch_function": _never},
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy
