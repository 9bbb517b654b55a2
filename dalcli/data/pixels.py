"""The one way inputs reach training, scoring and evaluation: rows in, arrays out.

What is trained sees pixels of an image, or, on a frozen network, the features that the network gives for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

Float32Array = NDArray[np.float32]
UInt8Array = NDArray[np.uint8]
IntArray = NDArray[np.int64]
Inputs = NDArray[Any]
"""Pixels (n, H, W, 3) uint8, or features (n, d) float32 or float16."""


@dataclass(frozen=True)
class Failure:
    """One image that could not be read: its row in the source, its file, and why."""

    row: int
    path: str
    reason: str
    missing: bool


FAILURES: TypeAdapter[list[Failure]] = TypeAdapter(list[Failure])
"""For telling them to other processes."""


class UnreadableImagesError(Exception):
    """Some of the requested images could not be read; ``failures`` lists all of them, not only the first.

    Not a :class:`~dalcli.errors.DalcliError`: commands decide whether it means quarantine or failure.
    """

    def __init__(self, failures: Sequence[Failure]) -> None:
        super().__init__(f"{len(failures)} images could not be read, first: {failures[0].path}: {failures[0].reason}")
        self.failures = tuple(failures)


class PartlyReadError(InterruptedError):
    """Reading was given up; what was made by then, which took time: ``inputs`` of ``rows``."""

    def __init__(self, rows: IntArray, inputs: Inputs) -> None:
        super().__init__("reading was given up")
        self.rows, self.inputs = rows, inputs


class InputSource(Protocol):
    """A fixed, ordered list of images, and what is seen of each: an array of one shape."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one image: (H, W, 3), or (d,)."""
        ...

    def __len__(self) -> int: ...

    def read(self, rows: IntArray) -> Inputs:
        """What is seen of ``rows`` as ``(len(rows), *shape)``, in that order.

        Raises:
            UnreadableImagesError: naming every row that could not be read.
        """
        ...


class PixelSource(Protocol):
    """An :class:`InputSource` of pixels: images decoded to one size."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Height, width, 3."""
        ...

    def __len__(self) -> int: ...

    def read(self, rows: IntArray) -> UInt8Array:
        """Pixels of ``rows`` as ``(len(rows), H, W, 3)`` uint8, in that order.

        Raises:
            UnreadableImagesError: naming every row that could not be read.
        """
        ...


class ArrayPixels:
    """Pixels that are already in memory (or memory-mapped): ``(N, H, W, 3)`` uint8."""

    def __init__(self, array: UInt8Array) -> None:
        if array.ndim != 4 or array.shape[3] != 3 or array.dtype != np.uint8:
            raise ValueError(f"expected (N, H, W, 3) uint8, got {array.shape} {array.dtype}")
        self._array = array

    @property
    def shape(self) -> tuple[int, int, int]:
        _, height, width, channels = self._array.shape
        return height, width, channels

    def __len__(self) -> int:
        return len(self._array)

    def read(self, rows: IntArray) -> UInt8Array:
        return self._array[rows]
