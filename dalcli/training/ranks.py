"""The processes that ``torchrun`` started together, and how they talk: plain JSON and sums of tensors.

One process, rank 0, owns the database, the lock and what is said; the others compute. Without torchrun there is one
process, for which everything here is free: callers are written once, for any number.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed

from dalcli.errors import DalcliError

PATIENCE = timedelta(days=7)  # torchrun notices what died; a rank that waits for a slow one is not an error

Json = Any
"""What JSON can hold."""


@dataclass(frozen=True)
class Ranks:
    """This process among ``size`` of them; every method but :attr:`main` is to be called by all, in the same order."""

    rank: int = 0
    size: int = 1

    @property
    def main(self) -> bool:
        """Whether this is the process that owns the database and speaks."""
        return self.rank == 0

    def broadcast(self, value: Json = None) -> Json:
        """What rank 0 passed; the others' ``value`` is ignored."""
        return self.gather(value if self.main else None)[0]

    def gather(self, value: Json) -> list[Json]:
        """What every rank passed, by rank."""
        if self.size == 1:
            return [value]
        own = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        with _peers():
            lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
            distributed.all_gather(lengths, torch.tensor([len(own)]))
            longest = max(int(length) for length in lengths)
            padded = torch.zeros(longest, dtype=torch.uint8)
            padded[: len(own)] = own
            texts = [torch.zeros_like(padded) for _ in range(self.size)]
            distributed.all_gather(texts, padded)
        return [json.loads(bytes(t[: int(n)].numpy())) for t, n in zip(texts, lengths, strict=True)]

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """Replace every tensor by its sum over the ranks, in place; the same bits everywhere."""
        if self.size > 1:
            with _peers():
                for tensor in tensors:
                    distributed.all_reduce(tensor)

    def part(self, count: int) -> range:
        """This rank's even share of ``count`` things, consecutive."""
        return range(count * self.rank // self.size, count * (self.rank + 1) // self.size)


SOLO = Ranks()


def launched() -> tuple[int, int]:
    """(rank, number of ranks) as torchrun says; (0, 1) without it. Does not need torch.distributed."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return 0, 1
    return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])


@contextmanager
def joined() -> Iterator[Ranks]:
    """Meet the other processes of this torchrun, if there are any: gloo on processors, NCCL between GPUs."""
    rank, size = launched()
    if size == 1:
        yield SOLO
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    with _peers():
        distributed.init_process_group(backend, timeout=PATIENCE)
    try:
        yield Ranks(rank, size)
    finally:
        distributed.destroy_process_group()


@contextmanager
def _peers() -> Iterator[None]:
    """A peer that is gone is an ordinary error."""
    try:
        yield
    except RuntimeError as error:
        raise DalcliError(
            f"another process of this torchrun is gone: {str(error).splitlines()[0][:200]}",
            "run the same command again (torchrun --max-restarts N does so by itself); what was complete is kept",
        ) from error
