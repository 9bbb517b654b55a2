"""Decoded, resized pixels on disk, memory-mapped: every later round reads them instead of decoding again.

The cache of one pixel format is a folder of segments. A segment is one safetensors file, written complete, with the
pixels of some samples, their digests, and a CRC-32 per image. Rows are found by digest, so growing, shrinking and
reordered pools share a cache; a damaged row is decoded again. Deleting the folder loses nothing but time.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from dalcli.data.pixels import IntArray, PixelSource, UInt8Array
from dalcli.state.atomic import write_via

SEGMENT_BYTES = 64 << 20
SUFFIX = ".safetensors"
HEADER_LIMIT = 1 << 16  # bytes; a segment of three arrays needs a few hundred


def cache_bytes(count: int, shape: tuple[int, int, int]) -> int:
    """Disk space of ``count`` cached images."""
    height, width, channels = shape
    return count * (height * width * channels + 20)


class CachedPixels:
    """A :class:`~dalcli.data.pixels.PixelSource` that remembers what another one decoded.

    Args:
        source: what decodes images that are not in the cache.
        digests: (n, 16) uint8, the content of row i of ``source``.
        folder: where segments are kept; made when the first one is written. It must belong to one pixel format
            (size, resizing, background): the caller names it after a fingerprint of these.

    New rows are written once a segment is full, and by :meth:`flush`. Any number of processes may read and write one
    folder: segments have names of their own and appear only complete.
    """

    def __init__(self, source: PixelSource, digests: UInt8Array, folder: Path, segment_bytes: int = SEGMENT_BYTES):
        if digests.shape != (len(source), 16):
            raise ValueError(f"{len(source)} images, but digests of shape {digests.shape}")
        self._source = source
        self._digests = np.ascontiguousarray(digests)
        self._folder = folder
        height, width, channels = source.shape
        self._row_bytes = height * width * channels
        self._segment_rows = max(1, segment_bytes // self._row_bytes)
        self._segments: list[_Segment] = []
        self._where = np.full((len(source), 2), -1, np.int64)  # segment, row in it
        self._pending: dict[int, UInt8Array] = {}
        self._open_segments()

    @property
    def shape(self) -> tuple[int, int, int]:
        return self._source.shape

    def __len__(self) -> int:
        return len(self._source)

    @property
    def missing(self) -> int:
        """How many images have to be decoded."""
        return int(np.count_nonzero(self._where[:, 0] < 0)) - len(self._pending)

    def read(self, rows: IntArray) -> UInt8Array:
        """Pixels of ``rows`` as ``(len(rows), H, W, 3)`` uint8, in that order.

        Raises:
            UnreadableImagesError: from the source, for images that are not cached.
        """
        rows = np.asarray(rows, dtype=np.int64)
        pixels = np.empty((len(rows), *self.shape), np.uint8)
        known = self._read_cached(rows, pixels)
        wanted = np.flatnonzero(~known)
        if len(wanted):
            pixels[wanted] = self._source.read(rows[wanted])
            for place in wanted:
                self._pending.setdefault(int(rows[place]), pixels[place].copy())
            if len(self._pending) >= self._segment_rows:
                self.flush()
        return pixels

    def flush(self) -> None:
        """Write what was decoded since the last segment."""
        if not self._pending:
            return
        rows = np.fromiter(self._pending, np.int64, len(self._pending))
        pixels = np.stack([self._pending[int(row)] for row in rows])
        checksums = np.array([zlib.crc32(image.data) for image in pixels], np.uint32)
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"segment-{uuid4().hex}{SUFFIX}"
        arrays: dict[str, NDArray[Any]] = {"pixels": pixels, "digests": self._digests[rows], "checksums": checksums}
        write_via(path, lambda temporary: save_file(arrays, temporary))
        self._pending.clear()
        self._segments.append(_Segment(path, self.shape))
        self._where[rows] = np.stack([np.full(len(rows), len(self._segments) - 1), np.arange(len(rows))], axis=1)

    def _read_cached(self, rows: IntArray, pixels: UInt8Array) -> NDArray[np.bool_]:
        """Fill in what is cached and intact; which rows that was."""
        known = np.zeros(len(rows), bool)
        for place, row in enumerate(rows):
            pending = self._pending.get(int(row))
            if pending is not None:
                pixels[place], known[place] = pending, True
        places = self._where[rows]
        for number in np.unique(places[:, 0]):
            if number < 0:
                continue
            inside = np.flatnonzero((places[:, 0] == number) & ~known)
            intact = self._segments[number].read_into(places[inside, 1], pixels, inside)
            known[inside[intact]] = True
            self._where[rows[inside[~intact]]] = -1
        return known

    def _open_segments(self) -> None:
        wanted = _keys(self._digests)
        order = np.argsort(wanted)
        for path in sorted(self._folder.glob(f"segment-*{SUFFIX}")):
            try:
                segment = _Segment(path, self.shape)
            except (OSError, ValueError, KeyError):  # damaged or foreign: as if it were not there
                continue
            keys = _keys(segment.digests)
            first = np.searchsorted(wanted, keys, side="left", sorter=order)
            inside = np.flatnonzero(first < len(wanted))
            inside = inside[wanted[order[first[inside]]] == keys[inside]]
            if len(inside):
                self._segments.append(segment)
                rows = order[first[inside]]
                self._where[rows] = np.stack([np.full(len(rows), len(self._segments) - 1), inside], axis=1)


class _Segment:
    """One file; its pixels are mapped only while they are read, so that open files do not add up.

    Raises ValueError, KeyError or OSError if it is not what it should be.
    """

    def __init__(self, path: Path, shape: tuple[int, int, int]) -> None:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if size > HEADER_LIMIT:
                raise ValueError(f"{path}: not a safetensors file")
            header = json.loads(file.read(size))
        entries = {name: header[name] for name in ("digests", "checksums", "pixels")}
        count = entries["digests"]["shape"][0]
        shapes = {"digests": (count, 16), "checksums": (count,), "pixels": (count, *shape)}
        offsets = {name: 8 + size + entry["data_offsets"][0] for name, entry in entries.items()}
        last = max(8 + size + entry["data_offsets"][1] for entry in entries.values())
        kinds = {name: entry["dtype"] for name, entry in entries.items()}
        if any(tuple(entries[name]["shape"]) != shapes[name] for name in shapes) or path.stat().st_size != last:
            raise ValueError(f"{path}: not a complete segment of {shape} images")
        if kinds != {"digests": "U8", "checksums": "U32", "pixels": "U8"}:
            raise ValueError(f"{path}: unexpected types {kinds}")
        self._path, self._offset, self._shape = path, offsets["pixels"], shapes["pixels"]
        self.digests = np.fromfile(path, np.uint8, count * 16, offset=offsets["digests"]).reshape(count, 16)
        self._checksums = np.fromfile(path, np.uint32, count, offset=offsets["checksums"])

    def read_into(self, rows: IntArray, pixels: UInt8Array, places: IntArray) -> NDArray[np.bool_]:
        """Copy ``rows`` to ``pixels[places]``; which of them were intact."""
        intact = np.zeros(len(rows), bool)
        try:
            mapped = np.memmap(self._path, np.uint8, "r", self._offset, self._shape)
        except (OSError, ValueError):  # deleted or cut off since it was opened
            return intact
        for index, (row, place) in enumerate(zip(rows, places, strict=True)):
            pixels[place] = mapped[row]
            intact[index] = zlib.crc32(pixels[place].data) == self._checksums[row]
        return intact


def _keys(digests: NDArray[np.uint8]) -> NDArray[np.bytes_]:
    return np.ascontiguousarray(digests).view("S16").reshape(-1)
