"""Several passes at once on a processor: samples are independent, so each thread scores pieces of its own.

One thread per piece instead of all threads on every operation: nothing waits for its slowest part, and small
operations, which are most of a small batch, do not pay for being split. Every replica is a copy of the modules (hooks
and modes are its own, as is whatever a model keeps between calls) and all replicas share one set of parameters.
"""

from __future__ import annotations

import copy
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from dalcli.gradients.kernels import laid_out, plain_kernels
from dalcli.runtime.heap import share_heap

MOST = 8  # replicas: beyond it they wait for each other's Python more than they gain
PLAIN = bool | int | float | str | None
Item = TypeVar("Item")
Result = TypeVar("Result")


class UnsettledError(Exception):
    """A copy of a model met what only the model itself may settle."""


@dataclass(frozen=True, slots=True)
class Replica:
    """A model as one thread sees it, the model itself or a copy: what a pass runs on.

    ``parameters`` and ``modules`` by name, ``head`` as in the engine; ``planar``: it has convolutions of images.
    """

    model: nn.Module
    head: nn.Module | None
    parameters: dict[str, nn.Parameter]
    modules: dict[str, nn.Module]
    planar: bool

    @staticmethod
    def of(model: nn.Module, head: str | None) -> Replica:
        """This very model."""
        modules = dict(model.named_modules())
        return Replica(
            model,
            head=None if head is None else model.get_submodule(head),
            parameters=dict(model.named_parameters()),
            modules=modules,
            planar=any(isinstance(module, nn.Conv2d) for module in modules.values()),
        )

    def prepared(self, inputs: Tensor) -> Tensor:
        """Images channels-last, which convolutions prefer on every device; ordinary tensors for autograd."""
        plain = inputs.clone() if inputs.is_inference() else inputs.detach()
        return plain.contiguous(memory_format=torch.channels_last) if self.planar and plain.dim() == 4 else plain


class Replicas:
    """The threads' copies of a model on a processor: made when first wanted, anew when its tensors have changed."""

    def __init__(self, model: nn.Module, head: str | None) -> None:
        self._model = model
        self._head = head
        self._copies: list[Replica] = []
        self._state: list[object] = []
        self._tensors: list[Tensor] = []
        self.refused = False

    def copies(self, count: int) -> Sequence[Replica]:
        """``count`` copies in eval mode with shared weights, kernels channels-last; none for a model that refuses."""
        if self.refused:
            return []
        share_heap()
        state = _state(self._model)
        if state != self._state:
            self._copies, self._state = [], state
            self._tensors = [*self._model.parameters(), *self._model.buffers()]  # their addresses stay theirs
        try:
            while len(self._copies) < count:
                self._copies.append(self._copied(self._copies[0] if self._copies else None))
        except Exception:  # whatever a model holds that cannot be copied
            self.refuse()
        return self._copies[:count]

    def refuse(self) -> None:
        """Never again: the copies do not behave like the model."""
        self.refused = True
        self._copies, self._state, self._tensors = [], [], []

    def _copied(self, first: Replica | None) -> Replica:
        """A deep copy of all but parameters and buffers, which are those of ``first`` or, kernels laid out, its own."""
        memo: dict[int, object] = {id(value): value for value in self._model.buffers()}
        kernels = {id(kernel) for kernel in plain_kernels(self._model)}
        for name, parameter in self._model.named_parameters():
            values = (parameter if first is None else first.parameters[name]).detach()
            values = laid_out(values) if id(parameter) in kernels else values
            memo[id(parameter)] = nn.Parameter(values, requires_grad=parameter.requires_grad)
        return Replica.of(copy.deepcopy(self._model, memo).eval(), self._head)


def _state(model: nn.Module) -> list[object]:
    """What can be seen of a model without looking into its tensors: it changes when the copies are out of date."""
    state: list[object] = [
        (id(value), None if value.is_inference() else value._version, value.data_ptr(), value.requires_grad)
        for value in (*model.parameters(), *model.buffers())
    ]
    for module in model.modules():
        plain = {key: value for key, value in vars(module).items() if isinstance(value, PLAIN) and key != "training"}
        loose = [
            (key, id(value), None if value.is_inference() else value._version)
            for key, value in vars(module).items()
            if isinstance(value, Tensor)
        ]
        state.append((id(module), plain, loose, list(module._forward_hooks), list(module._forward_pre_hooks)))
    return state


def replica_count(device: torch.device, samples: int) -> int:
    """How many replicas for so many samples: one per thread that torch may use."""
    if device.type != "cpu" or not torch.backends.openmp.is_available():  # type: ignore[no-untyped-call]
        return 1
    return max(1, min(torch.get_num_threads(), MOST, samples))


def spread(replicas: Sequence[Replica], items: Sequence[Item], work: Callable[[Replica, Item], Result]) -> list[Result]:
    """``work`` on every item, results in order; several replicas run in a thread each, with its share of torch's.

    An exception is raised once all threads have stopped.
    """
    if len(replicas) == 1 or len(items) == 1:
        return [work(replicas[0], item) for item in items]
    free = list(replicas)

    def turn(item: Item) -> Result:
        replica = free.pop()
        try:
            with torch.inference_mode(False), torch.enable_grad():
                return work(replica, item)
        finally:
            free.append(replica)

    with _threads(len(replicas)) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the filters are not a thread's own: those that replicas set may outlast them
        futures = [pool.submit(turn, item) for item in items]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:  # leaving the pool waits for those that run
                future.cancel()


@contextmanager
def _threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """``count`` threads among which torch's are divided.

    torch keeps the number per thread, but also the one that was set last, for threads to come: set again at the end.
    """
    total = torch.get_num_threads()
    ready = threading.Barrier(count + 1)

    def prepare() -> None:
        torch.get_num_threads()  # else the first operation would set the number anew
        torch.set_num_threads(max(1, total // count))
        ready.wait()

    with ThreadPoolExecutor(count, initializer=prepare) as pool:
        for _ in range(count):
            pool.submit(lambda: None)
        ready.wait()
        torch.set_num_threads(total)
        yield pool
