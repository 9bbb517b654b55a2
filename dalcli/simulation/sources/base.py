"""What a source of labeled images is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from dalcli.data.found import Split
from dalcli.data.pixels import UInt8Array
from dalcli.errors import DalcliError
from dalcli.simulation.schema import SourceConfig


@dataclass(frozen=True)
class LabeledImage:
    """A file, its class, and whether the source itself says what it serves (``training``: the pool)."""

    path: Path
    label: str
    split: Split | None = None


@dataclass(frozen=True)
class LabeledPixels:
    """An image that is no file yet: (H, W) or (H, W, 3) uint8, with a name that is the same every time."""

    name: str
    pixels: UInt8Array
    label: str
    split: Split | None = None


class FileSource(Protocol):
    """Finds labeled images that are files of the user's already: they stay where they are."""

    @property
    def takes(self) -> tuple[str, ...]:
        """The keys of ``source`` that mean something here; a path among them is required."""
        ...

    def find(self, config: SourceConfig) -> list[LabeledImage]:
        """All labeled images in a fixed order.

        Raises:
            BadInputError: there are none, or something is wrong with them.
        """
        ...


@runtime_checkable
class ArraySource(Protocol):
    """Finds labeled images inside other files; they are written out as PNG once."""

    @property
    def takes(self) -> tuple[str, ...]:
        """The keys of ``source`` that mean something here; a path among them is required."""
        ...

    def images(self, config: SourceConfig) -> Iterator[LabeledPixels]:
        """All labeled images in a fixed order.

        Raises:
            DalcliError: a package is missing, or the files cannot be had.
        """
        ...


def missing_package(kind: str, package: str, extra: str) -> DalcliError:
    """The error of a source whose package is not installed."""
    return DalcliError(
        f"source {kind}: {package} is not installed", f"install it: pip install {package} (or 'dalcli[{extra}]')"
    )


def as_uint8(pixels: object) -> UInt8Array:
    """A contiguous uint8 array."""
    return np.ascontiguousarray(pixels, dtype=np.uint8)
