"""The processes that ``torchrun`` started together, and how they talk: plain JSON and tensors.

One process, rank 0, owns the database, the lock and what is said; the others compute. Without torchrun there is one
process, for which everything here is free (not even torch is imported): callers are written once, for any number.
"""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue, TypeAdapter

from dalcli.errors import BadInputError, DalcliError, ExitCode, PeerError, ToldError
from dalcli.runtime.launch import launched, local_rank
from dalcli.runtime.peer_failure import PeerFailure

if TYPE_CHECKING:
    import torch
    from torch import Tensor

PATIENCE = timedelta(days=7)  # torchrun notices what died; a rank that waits for a slow one is not an error
SPEAKING_SECONDS = 5.0
_NUMBERS: TypeAdapter[tuple[float, ...]] = TypeAdapter(tuple[float, ...])
LONGEST_PAUSE = 0.02  # seconds between two looks at whether the others have answered


@dataclass(frozen=True)
class Ranks:
    """This process among ``size`` of them.

    Every method that talks is to be called by all, in the same order. All of them raise DalcliError where another
    process is gone: :class:`ToldError` on the processes that need not say so.
    """

    rank: int = 0
    size: int = 1

    @property
    def main(self) -> bool:
        """Whether this is the process that owns the database and speaks."""
        return self.rank == 0

    def broadcast(self, value: JsonValue = None) -> JsonValue:
        """What rank 0 passed; the others' ``value`` is ignored."""
        if self.size == 1:
            return value
        data = _bytes(value) if self.main else None
        length = _int64(0 if data is None else len(data))
        self.share([length])
        data = _empty(int(length)) if data is None else data
        self.share([data])
        return _json(data)

    def gather(self, value: JsonValue) -> list[JsonValue]:
        """What every rank passed, by rank."""
        if self.size == 1:
            return [value]
        from torch import distributed

        own = _bytes(value)
        lengths = [_int64(0) for _ in range(self.size)]
        with self._peers():
            _finish([distributed.all_gather(lengths, _int64(len(own)), async_op=True)])
            longest = max(int(length) for length in lengths)
            padded = _empty(longest)
            padded[: len(own)] = own
            texts = [_empty(longest) for _ in range(self.size)]
            _finish([distributed.all_gather(texts, padded, async_op=True)])
        return [_json(text[: int(length)]) for text, length in zip(texts, lengths, strict=True)]

    def gather_numbers(self, *numbers: float) -> list[tuple[float, ...]]:
        """What every rank passed, by rank; as many numbers each."""
        return [_NUMBERS.validate_python(found) for found in self.gather(list(numbers))]

    @contextmanager
    def agreed(self) -> Iterator[None]:
        """What is done inside either succeeds on every rank, or ends all of them; then rank 0 says why.

        Raises:
            PeerError: on rank 0, with what went wrong elsewhere and where.
            ToldError: on the others.
        """
        if self.size == 1:
            yield
            return
        failure: Exception | None = None
        try:
            yield
        except ToldError:  # already known to all
            raise
        except Exception as error:
            failure = error
        self._end_if_failed(failure)

    def _end_if_failed(self, failure: Exception | None) -> None:
        """Nothing, if no rank has a ``failure``."""
        found = self.gather(None if failure is None else PeerFailure.of(failure).document())
        first = next((PeerFailure.parse(answer) for answer in found if answer is not None), None)
        if first is None:
            return
        if self.main:
            raise failure or PeerError(first.message, first.remedy, first.code)
        raise ToldError(bug=failure is not None and first.code == ExitCode.BUG) from failure

    def sum(self, tensors: Sequence[Tensor], *, soon: bool = False) -> None:
        """Replace every tensor by its sum over the ranks, in place; the same bits everywhere.

        ``soon``: the others are at the same point, or nearly so. Then the wait is a plain one: half as long where it is
        all there is, no wait at all for a GPU's result, but deaf to signals.
        """
        if self.size == 1:
            return
        from torch import distributed

        with self._peers():
            if soon:
                for tensor in tensors:
                    distributed.all_reduce(tensor)
            else:
                _finish([distributed.all_reduce(tensor, async_op=True) for tensor in tensors])

    def share(self, tensors: Sequence[Tensor]) -> None:
        """Replace every tensor by rank 0's, in place; shapes, dtypes and devices agree, strides need not."""
        if self.size == 1:
            return
        from torch import distributed

        dense = [tensor.contiguous() for tensor in tensors]  # what is sent are bytes in the order of memory
        with self._peers():
            _finish([distributed.broadcast(tensor, 0, async_op=True) for tensor in dense])
        for tensor, received in zip(tensors, dense, strict=True):
            if received is not tensor and not self.main:
                tensor.copy_(received)

    def part(self, count: int) -> range:
        """This rank's even share of ``count`` things, consecutive."""
        return range(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def device(self, name: str) -> torch.device:
        """The device ``name`` means for this rank: every rank of a machine has a GPU of its own while there are enough.

        Raises:
            BadInputError: key ``device``: it is not there, or names one GPU for all ranks.
        """
        from dalcli.runtime.device import own_device, resolve_device

        device = resolve_device(name)
        if self.size > 1 and device.type == "cuda" and device.index is not None:
            raise BadInputError(
                f"device: {name} is one GPU for all {self.size} processes of this torchrun",
                "Set device: cuda (each process takes its own), or CUDA_VISIBLE_DEVICES.",
            )
        return own_device(name) if self.size > 1 else device

    @contextmanager
    def _peers(self) -> Iterator[None]:
        """A peer that is gone is an ordinary error, and said once."""
        try:
            yield
        except RuntimeError as error:
            if not self._speaks():
                raise ToldError from error
            reason = re.sub(r"^\[.*?\]\s*", "", str(error).splitlines()[0]).split(". ")[0]
            raise DalcliError(
                f"another process of this torchrun is gone ({reason[:200]})",
                "run the same command again (torchrun --max-restarts N does so by itself); what was complete is kept",
            ) from error

    def _speaks(self) -> bool:
        """Rank 0 says what happened; rank 1 does where rank 0 was killed and could not."""
        if self.rank > 1:
            return False
        if self.main:
            return True
        from dalcli.runtime import meeting

        try:
            return not meeting.has_left(_store)
        except Exception:  # the machine that it was on has gone too
            return True


SOLO = Ranks()

_store: Any = None  # that this process and the others share; there is one group of them in a process


@contextmanager
def joined() -> Iterator[Ranks]:
    """Meet the other processes of this torchrun, if there are any: gloo on processors, NCCL between GPUs."""
    rank, size = launched()
    if size == 1:
        yield SOLO
        return
    import torch
    from torch import distributed

    from dalcli.runtime import meeting

    global _store  # noqa: PLW0603
    ranks = Ranks(rank, size)
    shared = torch.cuda.device_count() < int(os.environ["LOCAL_WORLD_SIZE"])  # NCCL wants a GPU for every process
    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank() % torch.cuda.device_count())
    with _signals_end_it(), ranks._peers():
        _store = meeting.common_store(rank, size, PATIENCE)
        backend = "gloo" if shared else "cpu:gloo,cuda:nccl"
        distributed.init_process_group(backend, store=_store, rank=rank, world_size=size, timeout=PATIENCE)
    try:
        yield ranks
    except ToldError:
        meeting.wait_until_left(_store, SPEAKING_SECONDS)
        raise
    finally:
        if ranks.main:
            with suppress(Exception):
                meeting.leave(_store)
        distributed.destroy_process_group()


@contextmanager
def _signals_end_it() -> Iterator[None]:
    """Nothing is held yet, and torch waits for the others without looking at signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, signal.SIG_DFL) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _finish(works: Sequence[Any]) -> None:
    """Wait, in such a way that SIGTERM and Ctrl-C are noticed; raises what went wrong."""
    pause = 1e-5
    for work in works:
        while not work.is_completed():
            time.sleep(pause)
            pause = min(1.25 * pause, LONGEST_PAUSE)
        work.wait()


def _bytes(value: JsonValue) -> Tensor:
    import torch

    return torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)


def _json(data: Tensor) -> JsonValue:
    value: JsonValue = json.loads(data.numpy().tobytes())
    return value


def _empty(length: int) -> Tensor:
    import torch

    return torch.zeros(length, dtype=torch.uint8)


def _int64(value: int) -> Tensor:
    import torch

    return torch.tensor([value])
