"""Samples in pieces: as many at once as memory allows, fewer from then on where it runs out, results put together."""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from dalcli.gradients.memory import even_pieces
from dalcli.runtime.memory import is_out_of_memory, memory_errors

Result = TypeVar("Result")
Record = TypeVar("Record")


class Halving:
    """How many samples run at once: as many as are wanted until memory runs out, half of them from then on.

    For whatever works on samples in pieces; what it does about memory goes to ``notes``, once a halving.
    """

    def __init__(self, notes: list[str]) -> None:
        self._notes = notes
        self._most: int | None = None  # known once memory ran out

    def capped(self, wanted: int) -> int:
        """``wanted`` samples, or as many as were found to fit."""
        return wanted if self._most is None else min(wanted, self._most)

    def map(self, work: Callable[[slice], Result], inputs: Tensor, most: int) -> Iterator[Result]:
        """``work`` on consecutive pieces of inputs (n, ...), at most ``most`` samples each.

        The piece that runs out of memory comes again, smaller; what came before it is kept.

        Raises:
            MemoryError, RuntimeError: there is not enough for a single sample (:func:`single_image_errors`).
        """
        done, count = 0, inputs.shape[0]
        while done < count:
            for piece in even_pieces(count - done, self.capped(most)):
                samples = slice(done, done + piece.stop - piece.start)
                result = self.attempt(partial(work, samples), samples.stop - samples.start, inputs.device)
                if result is None:
                    break
                yield result
                del result  # which may be as large as the model
                done = samples.stop

    def attempt(self, work: Callable[[], Result], at_once: int, device: torch.device) -> Result | None:
        """What ``work`` on so many samples at once returns; None if they were too many, so that fewer are to be tried.

        Raises:
            MemoryError, RuntimeError: as ``map``.
        """
        try:
            return work()
        except (RuntimeError, MemoryError) as error:
            if at_once < 2 or not is_out_of_memory(error):
                raise
        # Only here, when the error and all that it holds on to are gone, is there memory again.
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
        self._most = at_once // 2
        self._notes.append(f"out of memory with {at_once} images at once: going on with {self._most}")
        return None


def single_image_errors(device: torch.device) -> AbstractContextManager[None]:
    """Meanwhile running out of memory, with nothing left to halve, is an error with a remedy.

    Raises:
        DalcliError: it did.
    """
    return memory_errors(
        f"scoring ran out of memory on {device} with a single image",
        "End other programs that use it, or set a smaller data.image_size and train again.",
    )


def joined(parts: Sequence[Record]) -> Record:
    """One dataclass of tensors (n, ...) from several of consecutive samples, at least one; None stays None."""
    first: Any = parts[0]
    if len(parts) == 1:
        return parts[0]
    columns: dict[str, Any] = {}
    for field in dataclasses.fields(first):
        values = [getattr(part, field.name) for part in parts]
        columns[field.name] = None if values[0] is None else torch.cat(values)
    result: Record = type(first)(**columns)
    return result
