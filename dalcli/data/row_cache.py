"""What is seen of images on disk, memory-mapped: later rounds read pixels, or features, instead of making them again.

The cache of one pixel format, or of one frozen network, is a folder of segments (see ``cache_segment``). Rows are found
by digest, so growing, shrinking and reordered pools share a cache; a damaged row is made again. Deleting the folder,
also while it is in use, loses nothing but time.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from dalcli.config.hashing import fingerprint
from dalcli.data.cache_segment import ROW_OVERHEAD, DamagedSegmentError, RowFormat, Segment, write_segment
from dalcli.data.colour import Colour
from dalcli.data.pixels import Inputs, InputSource, IntArray, PartlyReadError, UInt8Array

PIXEL_VERSION = 1  # to be raised whenever decoding or resizing would give other pixels, or segments change
SEGMENT_BYTES = 32 << 20
SUFFIX = ".safetensors"
LEFTOVER_SECONDS = 3600.0  # a temporary file that nobody has touched for so long was left by a killed process

_ABSENT, _PENDING = -1, -2  # in place of a segment's number


def cache_name(
    image_size: tuple[int, int],
    resize: str,
    alpha_background: Colour,
    crop_fraction: float = 1.0,
    interpolation: str = "bilinear",
) -> str:
    """Folder name of a pixel format: changes exactly when pixels do."""
    # Caches made before there was a choice keep their names.
    chosen = () if (crop_fraction, interpolation) == (1.0, "bilinear") else (crop_fraction, interpolation)
    return fingerprint(PIXEL_VERSION, image_size, resize, alpha_background, *chosen)


def features_name(network: str, alpha_background: Colour, dtype: str) -> str:
    """Folder name of the features that the ``network`` with this fingerprint gives: changes exactly when they do."""
    return f"features-{fingerprint(PIXEL_VERSION, network, alpha_background, dtype)}"


def cache_bytes(count: int, kind: RowFormat) -> int:
    """Disk space of ``count`` cached images."""
    return count * (kind.row_bytes + ROW_OVERHEAD)


class CachedRows:
    """An :class:`~dalcli.data.pixels.InputSource` that remembers what another one made.

    Args:
        source: what makes the rows that are not in the cache, of ``dtype``.
        digests: (n, 16) uint8, the content of row i of ``source``.
        folder: where segments are kept; made when the first one is written. It must belong to one pixel format
            (:func:`cache_name`) or network.
        writable: whether to add what was made.

    New rows are written once a segment is full, and by :meth:`flush`. What cannot be written (a full disk) is
    forgotten, nothing more is added, and ``problem`` says why. Threads may share one object; any number of
    processes may read and write one folder: segments have names of their own and appear only complete.
    """

    def __init__(
        self,
        source: InputSource,
        digests: UInt8Array,
        folder: Path,
        segment_bytes: int = SEGMENT_BYTES,
        *,
        dtype: str = "uint8",
        writable: bool = True,
    ) -> None:
        if digests.shape != (len(source), 16):
            raise ValueError(f"{len(source)} images, but digests of shape {digests.shape}")
        self.problem: OSError | None = None
        self.writable = writable
        self._source = source
        self._digests = np.ascontiguousarray(digests)
        self.folder = folder
        self.format = RowFormat(tuple(source.shape), dtype)
        self._segment_rows = max(1, segment_bytes // self.format.row_bytes)
        self._segments: list[Segment] = []
        self._where = np.full((len(source), 2), _ABSENT, np.int64)  # segment, row in it
        self._pending: Inputs | None = None  # made when the first image comes
        self._pending_rows: list[int] = []
        self._lock = threading.Lock()
        self._open_segments()

    @property
    def shape(self) -> tuple[int, ...]:
        return self.format.shape

    def __len__(self) -> int:
        return len(self._source)

    @property
    def missing(self) -> int:
        """How many rows have to be made."""
        return int(np.count_nonzero(self._where[:, 0] == _ABSENT))

    def read(self, rows: IntArray) -> Inputs:
        """What is seen of ``rows`` as ``(len(rows), *shape)``, in that order.

        Raises:
            UnreadableImagesError: from the source, for images that are not cached.
        """
        rows = np.asarray(rows, dtype=np.int64)
        found = np.empty((len(rows), *self.shape), self.format.dtype)
        with self._lock:
            known = self._read_cached(rows, found)
        wanted = np.flatnonzero(~known)
        if len(wanted):
            try:
                found[wanted] = self._source.read(rows[wanted])
            except PartlyReadError as partly:
                with self._lock:
                    self._remember(partly.rows, partly.inputs, np.arange(len(partly.rows)))
                raise
            with self._lock:
                self._remember(rows, found, wanted)
        return found

    def flush(self) -> None:
        """Write what was made since the last segment."""
        with self._lock:
            self._flush()

    def _read_cached(self, rows: IntArray, target: Inputs) -> NDArray[np.bool_]:
        """Fill in what is cached and intact; which rows that was."""
        known = np.zeros(len(rows), bool)
        places = self._where[rows]
        for number in np.unique(places[:, 0]).tolist():
            inside = np.flatnonzero(places[:, 0] == number)
            if number == _PENDING:
                assert self._pending is not None
                target[inside] = self._pending[places[inside, 1]]
                known[inside] = True
            elif number != _ABSENT:
                known[inside] = self._read_segment(number, rows[inside], places[inside, 1], target, inside)
        return known

    def _read_segment(
        self, number: int, rows: IntArray, places: IntArray, target: Inputs, into: IntArray
    ) -> NDArray[np.bool_]:
        """Copy ``places`` of one segment to ``target[into]``; which of them were there and intact."""
        try:
            intact = self._segments[number].read_into(places, self._digests[rows], target, into)
        except (OSError, ValueError):  # the file has gone
            self._where[self._where[:, 0] == number] = _ABSENT
            return np.zeros(len(rows), bool)
        self._where[rows[~intact]] = _ABSENT
        return intact

    def _remember(self, rows: IntArray, found: Inputs, wanted: IntArray) -> None:
        for place in wanted.tolist():
            row = int(rows[place])
            if not self.writable or self._where[row, 0] != _ABSENT:
                continue
            if self._pending is None:
                self._pending = np.empty((self._segment_rows, *self.shape), self.format.dtype)
            self._pending[len(self._pending_rows)] = found[place]
            self._where[row] = _PENDING, len(self._pending_rows)
            self._pending_rows.append(row)
            if len(self._pending_rows) == self._segment_rows:
                self._flush()

    def _flush(self) -> None:
        if self._pending is None:
            return
        rows = np.array(self._pending_rows, np.int64)
        made = self._pending[: len(rows)]
        self._pending, self._pending_rows = None, []
        self._where[rows] = _ABSENT
        path = self.folder / f"segment-{time.time_ns():020d}-{uuid4().hex[:8]}{SUFFIX}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_segment(path, made, self._digests[rows])
            segment = Segment(path, self.format)
        except (FileNotFoundError, DamagedSegmentError):  # somebody is deleting the cache: as if it had been written
            return
        except OSError as error:
            self.problem, self.writable = error, False
            return
        self._segments.append(segment)
        self._where[rows] = np.stack([np.full(len(rows), len(self._segments) - 1), np.arange(len(rows))], axis=1)

    def _open_segments(self) -> None:
        wanted = as_keys(self._digests)
        order = np.argsort(wanted)
        for path in segment_paths(self.folder):  # of two copies the later one counts
            try:
                segment = Segment(path, self.format)
                keys = as_keys(segment.digests())
            except (OSError, DamagedSegmentError):  # as if it were not there
                continue
            first = np.searchsorted(wanted, keys, side="left", sorter=order)
            inside = np.flatnonzero(first < len(wanted))
            inside = inside[wanted[order[first[inside]]] == keys[inside]]
            if len(inside):
                self._segments.append(segment)
                rows = order[first[inside]]
                self._where[rows] = np.stack([np.full(len(rows), len(self._segments) - 1), inside], axis=1)


def remove_leftovers(folder: Path) -> None:
    """Delete what killed processes left half written in ``folder``."""
    for path in folder.glob(f".segment-*{SUFFIX}.*.tmp"):
        with suppress(OSError):  # another process may be as tidy
            if time.time() - path.stat().st_mtime > LEFTOVER_SECONDS:
                path.unlink()


def segment_paths(folder: Path) -> list[Path]:
    """The files of a cache, oldest first."""
    return sorted(folder.glob(f"segment-*{SUFFIX}"))


def as_keys(digests: NDArray[np.uint8]) -> NDArray[np.bytes_]:
    """One sortable key per row of ``digests`` (n, 16) uint8."""
    return np.ascontiguousarray(digests).view("S16").reshape(-1)
