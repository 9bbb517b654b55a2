"""One file of a row cache: what is seen of some samples, their digests, and a checksum per sample."""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from dalcli.data.pixels import Inputs, IntArray, UInt8Array
from dalcli.state.atomic import write_via

ROW_OVERHEAD = 20  # bytes per image besides what is seen of it: digest and checksum
ROWS = "pixels"  # the array of rows, as it has been called since there were only pixels
_HEADER_LIMIT = 1 << 16  # bytes; a segment of three arrays needs a few hundred
_SAFETENSORS_NAMES = {"uint8": "U8", "float16": "F16", "float32": "F32"}


@dataclass(frozen=True)
class RowFormat:
    """What all rows of a cache have in common: their shape, and their dtype's name."""

    shape: tuple[int, ...]
    dtype: str = "uint8"

    @property
    def row_bytes(self) -> int:
        """Of one row."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


class DamagedSegmentError(Exception):
    """The file is not a complete segment of this format."""


class Segment:
    """A complete file; its rows are mapped only while they are read, so that open files do not add up.

    Raises:
        DamagedSegmentError: it is not what it should be.
        OSError: it cannot be read, or has gone.
    """

    def __init__(self, path: Path, kind: RowFormat) -> None:
        try:
            count, offsets = _layout(path, kind)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise DamagedSegmentError(f"{path}: {error}") from error
        self.path = path
        self._rows, self._shape, self._dtype = offsets[ROWS], (count, *kind.shape), kind.dtype
        self._digests = offsets["digests"]
        self._checksums = np.fromfile(path, np.uint32, count, offset=offsets["checksums"])

    def digests(self) -> UInt8Array:
        """(n, 16) uint8: whose rows they are."""
        return np.fromfile(self.path, np.uint8, self._shape[0] * 16, offset=self._digests).reshape(-1, 16)

    def read_into(self, rows: IntArray, digests: UInt8Array, target: Inputs, places: IntArray) -> NDArray[np.bool_]:
        """Copy ``rows``, which belong to ``digests`` (n, 16), to ``target[places]``; which of them were intact.

        Raises:
            OSError, ValueError: the file was deleted or cut off since it was opened.
        """
        intact = np.zeros(len(rows), bool)
        mapped = np.memmap(self.path, self._dtype, "r", self._rows, self._shape)
        for index, (row, place) in enumerate(zip(rows.tolist(), places.tolist(), strict=True)):
            target[place] = mapped[row]
            intact[index] = _checksum(digests[index], target[place]) == self._checksums[row]
        return intact


def write_segment(path: Path, rows: Inputs, digests: UInt8Array) -> None:
    """Write rows (n, ...) and digests (n, 16) uint8 as one complete file.

    Raises:
        OSError: the disk is full, say; there is no file then.
    """
    checksums = np.array([_checksum(*row) for row in zip(digests, rows, strict=True)], np.uint32)
    arrays: dict[str, NDArray[Any]] = {ROWS: rows, "digests": digests, "checksums": checksums}
    write_via(path, lambda temporary: save_file(arrays, temporary))


def _checksum(digest: UInt8Array, row: Inputs) -> int:
    """Of what is seen and of whose it is."""
    return zlib.crc32(row.data, zlib.crc32(digest.data))


def _layout(path: Path, kind: RowFormat) -> tuple[int, dict[str, int]]:
    """The number of images, and where in the file each array begins."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > _HEADER_LIMIT:
            raise ValueError("not a safetensors file")
        header = json.loads(file.read(size))
    entries = {name: header[name] for name in ("digests", "checksums", ROWS)}
    count = int(entries["digests"]["shape"][0])
    shapes = {"digests": (count, 16), "checksums": (count,), ROWS: (count, *kind.shape)}
    last = max(8 + size + entry["data_offsets"][1] for entry in entries.values())
    if any(tuple(entries[name]["shape"]) != shapes[name] for name in shapes) or path.stat().st_size != last:
        raise ValueError(f"not a complete segment of rows of {kind.shape}")
    kinds = {name: entry["dtype"] for name, entry in entries.items()}
    if kinds != {"digests": "U8", "checksums": "U32", ROWS: _SAFETENSORS_NAMES[kind.dtype]}:
        raise ValueError(f"unexpected types {kinds}")
    return count, {name: 8 + size + entry["data_offsets"][0] for name, entry in entries.items()}
