"""What a model calls: the order, names and shapes of every torch function in one forward pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dalcli.gradients.functional.calls import CallWatcher, name_of, tensors_in

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Slice:
    """A contiguous part of a parameter: the flat entries from ``offset``, seen in ``shape``."""

    offset: int
    shape: Shape


@dataclass(frozen=True, slots=True)
class Seen:
    """One tensor in a call: ``token`` tells tensors apart; ``part`` if it is a plain part of the parameter ``of``."""

    token: int
    shape: Shape
    of: str | None
    part: Slice | None


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a torch function."""

    function: str
    inputs: tuple[Seen, ...]
    outputs: tuple[Seen, ...]


def slice_of(value: Tensor, parameter: nn.Parameter) -> Slice | None:
    """The part of ``parameter`` that ``value`` is a plain view of, None if it is anything else."""
    if value.dtype != parameter.dtype or not value.is_contiguous() or not parameter.is_contiguous():
        return None
    if value.untyped_storage().data_ptr() != parameter.untyped_storage().data_ptr():
        return None
    offset = int(value.storage_offset()) - int(parameter.storage_offset())
    inside = offset >= 0 and offset + value.numel() <= parameter.numel()
    return Slice(offset, tuple(value.shape)) if inside else None


class Recorder(CallWatcher):
    """Records the calls made while it is active; tensors stay alive as long as the recorder."""

    def __init__(self, parameters: Mapping[str, nn.Parameter]) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self._storages = {value.untyped_storage().data_ptr(): name for name, value in parameters.items()}
        self._parameters = parameters
        self._tokens: dict[int, int] = {}
        self._alive: list[Tensor] = []

    def called(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Make the call; write it down."""
        inputs = tuple(self._see(value) for value in tensors_in((args, kwargs)))
        result = func(*args, **kwargs)
        outputs = tuple(self._see(value) for value in tensors_in(result))
        if outputs or name_of(func) == "setitem":
            self.calls.append(Call(name_of(func), inputs, outputs))
        return result

    def token_of(self, value: Tensor) -> int:
        """The number by which this very tensor is known in the record."""
        if id(value) not in self._tokens:
            self._tokens[id(value)] = len(self._tokens)
            self._alive.append(value)  # its id must not be given to another tensor
        return self._tokens[id(value)]

    def _see(self, value: Tensor) -> Seen:
        name = self._storages.get(value.untyped_storage().data_ptr()) if value.layout == torch.strided else None
        part = None if name is None else slice_of(value, self._parameters[name])
        return Seen(self.token_of(value), tuple(value.shape), None if part is None else name, part)
