"""Looking at what torch's functions are called with."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from types import FunctionType
from typing import Any

from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


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


def _opened(function: Callable[..., Any]) -> Callable[..., Any] | None:
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


class CallWatcher(TorchFunctionMode):
    """Sees every call of a torch function while it is active, those inside composite functions included."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        inside = _opened(func)
        if inside is None:
            return self.called(func, args, kwargs)
        with self:
            return inside(*args, **kwargs)

    @abstractmethod
    def called(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Make the call, and return its result."""
