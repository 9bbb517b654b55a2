"""Columns in memory that a strategy reads as it reads stored scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from dalcli.scores.columns import Array, Digests, Layout, as_keys, find_keys
from dalcli.scores.samples import SampleSet
from dalcli.scores.table import ScoreBlock
from dalcli.strategies.base import unscored

_ROWS = 16384


class MemoryTable:
    """``columns`` with a row for each of ``digests`` (n, 16), all different; a copy, in the order of the digests."""

    def __init__(self, digests: Digests, columns: Mapping[str, Array]) -> None:
        keys = as_keys(digests)
        order = np.argsort(keys)
        self._keys = keys[order]
        self._columns = {name: array[order] for name, array in columns.items()}

    @property
    def layout(self) -> Layout:
        return {name: (str(array.dtype), array.shape[1:]) for name, array in self._columns.items()}

    def blocks(self, columns: Sequence[str]) -> Iterator[ScoreBlock]:
        """All rows, in the order of the digests."""
        digests = self._keys.view(np.uint8).reshape(-1, 16)
        for start in range(0, len(digests), _ROWS):
            rows = slice(start, start + _ROWS)
            yield ScoreBlock(digests[rows], {name: self._columns[name][rows] for name in columns})

    def lookup(self, digests: Digests, columns: Sequence[str]) -> dict[str, Array]:
        """The named columns at ``digests``, in that order.

        Raises:
            NotReadyError: some of them are not here.
        """
        rows = find_keys(as_keys(digests), self._keys)
        if (rows < 0).any():
            raise unscored(int(np.count_nonzero(rows < 0)), len(rows))
        return {name: self._columns[name][rows] for name in columns}

    def holds(self, samples: SampleSet) -> bool:
        """Whether there is a row for every one of ``samples``."""
        return bool((find_keys(as_keys(samples.digests), self._keys) >= 0).all())
