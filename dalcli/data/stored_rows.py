"""Looking rows of a cache up by whose they are, without making what is not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dalcli.data.cache_segment import DamagedSegmentError, RowFormat, Segment
from dalcli.data.pixels import Inputs, IntArray, UInt8Array
from dalcli.data.row_cache import as_keys, segment_paths


class StoredRows:
    """Every row that a cache's ``folder`` holds, as of now; 32 bytes of memory each.

    A folder or a segment that is not there, or damaged, holds nothing.
    """

    def __init__(self, folder: Path, kind: RowFormat) -> None:
        self.format = kind
        self._segments: list[Segment] = []
        keys: list[NDArray[np.bytes_]] = []
        places: list[IntArray] = []
        for path in segment_paths(folder):
            try:
                segment = Segment(path, kind)
                found = as_keys(segment.digests())
            except (OSError, DamagedSegmentError):
                continue
            keys.append(found)
            places.append(np.stack([np.full(len(found), len(self._segments)), np.arange(len(found))], axis=1))
            self._segments.append(segment)
        joined = np.concatenate(keys) if keys else np.empty(0, "S16")
        # Of two copies of a row the later one counts.
        self._keys, last = np.unique(joined[::-1], return_index=True)
        self._places: IntArray = np.concatenate(places)[::-1][last] if places else np.empty((0, 2), np.int64)

    def holds(self, digests: UInt8Array) -> NDArray[np.bool_]:
        """(n,) whether the rows of ``digests`` (n, 16) are there; reading tells whether they are intact."""
        return self._find(digests) >= 0

    def read(self, digests: UInt8Array) -> tuple[Inputs, NDArray[np.bool_]]:
        """Rows (n, ...) of ``digests`` (n, 16), in that order, and (n,) which of them are there and intact."""
        found = np.zeros((len(digests), *self.format.shape), self.format.dtype)
        intact = np.zeros(len(digests), bool)
        rows = self._find(digests)
        where = np.where(rows >= 0, self._places[rows, 0], -1) if len(self._places) else rows
        for number in np.unique(where[where >= 0]).tolist():
            into = np.flatnonzero(where == number)
            try:
                segment = self._segments[number]
                intact[into] = segment.read_into(self._places[rows[into], 1], digests[into], found, into)
            except (OSError, ValueError):  # the file has gone
                continue
        return found, intact

    def _find(self, digests: UInt8Array) -> IntArray:
        keys = as_keys(digests)
        if not len(self._keys):
            return np.full(len(keys), -1, np.int64)
        places = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return np.where(self._keys[places] == keys, places, -1)
