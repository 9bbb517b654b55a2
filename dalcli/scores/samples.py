"""A set of samples that answers for whole arrays at once which of them it holds."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from dalcli.scores.columns import Digests, as_keys, find_keys


class SampleSet:
    """Distinct samples, sorted by digest: 16 bytes each, membership of n samples in O(n log size).

    Args:
        digests: (n, 16) uint8, in any order, repetitions allowed; cheapest if sorted already.
    """

    EMPTY: ClassVar[SampleSet]

    def __init__(self, digests: Digests) -> None:
        keys = as_keys(digests)
        in_order = bool((keys[:-1] < keys[1:]).all())
        self._keys = keys if in_order else np.unique(keys)

    @cached_property
    def _heads(self) -> NDArray[np.uint64]:
        return _heads(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def digests(self) -> Digests:
        """(len, 16) uint8, sorted."""
        return self._keys.view(np.uint8).reshape(-1, 16)

    def __or__(self, other: SampleSet) -> SampleSet:
        """The samples of either set."""
        if not len(other):
            return self
        return SampleSet(np.concatenate([self.digests, other.digests])) if len(self) else other

    def find(self, digests: Digests) -> NDArray[np.int64]:
        """Position of each of ``digests`` (n, 16) in :attr:`digests`, −1 where it is not a member."""
        keys = as_keys(digests)
        if not len(self._keys):
            return np.full(len(keys), -1, np.int64)
        # Numbers are searched several times faster than byte strings, and the first eight bytes nearly always decide.
        heads = _heads(keys)
        places = np.minimum(np.searchsorted(self._heads, heads), len(self._keys) - 1)
        same = self._keys[places] == keys
        undecided = np.flatnonzero(~same & (self._heads[places] == heads))
        found = np.where(same, places, -1)
        found[undecided] = find_keys(keys[undecided], self._keys)
        return found

    def contains(self, digests: Digests) -> NDArray[np.bool_]:
        """(n,) whether each of ``digests`` (n, 16) is a member."""
        return self.find(digests) >= 0


def _heads(keys: NDArray[np.bytes_]) -> NDArray[np.uint64]:
    """The first eight bytes of each key as a number, in the same order."""
    return np.ascontiguousarray(keys).view(">u8")[::2].astype(np.uint64)


SampleSet.EMPTY = SampleSet(np.empty((0, 16), np.uint8))
