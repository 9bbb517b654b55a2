"""The b highest values of a score, exactly, in one streaming pass.

Order: value descending, NaN after everything, ties by the smaller keyed hash of the content (never by order of
arrival), and by digest should two hashes collide. Once b candidates are known, most rows fail one comparison with the
worst of them, and only the few that pass cost a hash and a look-up among the eligible samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dalcli.scoring.table import Digests, ScoreBlock, as_keys
from dalcli.strategies.base import Request, Score, Selection, unscored

_CHUNK = 8192


@dataclass(frozen=True)
class TopValues:
    """The strategy that asks for the samples with the highest values of one score."""

    score: Score

    @property
    def columns(self) -> tuple[str, ...]:
        return self.score.columns

    def select(self, request: Request) -> Selection:
        best = Best(request)
        for block in request.blocks(self.columns):
            best.offer(block.digests, self._values(block, request))
        selection = best.selection()
        if len(selection.digests) < request.size:
            raise unscored(len(request.eligible) - len(selection.digests), len(request.eligible))
        return selection

    def _values(self, block: ScoreBlock, request: Request) -> NDArray[Any]:
        values = self.score.values(block, request)
        if values.shape != (len(block),):
            raise ValueError(f"{self.score}: {values.shape} values for {len(block)} samples")
        return values


class Best:
    """Collects the ``request.size`` best eligible samples of a stream; memory in proportion to that number.

    A sample offered twice counts once, with its better value.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self._kept = _Candidates.none()
        self._pending: list[_Candidates] = []
        self._bar: tuple[np.float64, np.uint64] | None = None
        self._non_finite = 0

    def offer(self, digests: Digests, values: NDArray[Any]) -> None:
        """Consider ``digests`` (n, 16) with ``values`` (n,); rows that are not eligible are ignored."""
        # Pieces bound the work before the bar is known: one block may hold a whole pool.
        step = max(_CHUNK, 2 * self._request.size)
        for start in range(0, len(digests), step):
            piece = slice(start, start + step)
            self._offer(digests[piece], values[piece].astype(np.float64))

    def selection(self) -> Selection:
        """The best so far, first choice first."""
        self._settle()
        return Selection(self._kept.digests, self._kept.values, self._non_finite)

    def _offer(self, digests: Digests, values: NDArray[np.float64]) -> None:
        undefined = np.isnan(values)
        if undefined.any():
            self._non_finite += int(np.count_nonzero(self._request.eligible.contains(digests[undefined])))
        passing = self._passing(digests, values)
        eligible = self._request.eligible.contains(passing.digests)
        self._pending.append(passing.take(np.flatnonzero(eligible)))
        waiting = sum(map(len, self._pending))
        if waiting >= self._request.size or (self._bar is None and waiting + len(self._kept) >= self._request.size):
            self._settle()

    def _passing(self, digests: Digests, values: NDArray[np.float64]) -> _Candidates:
        """The rows that are not worse than the worst of a full set of candidates, eligible or not."""
        if self._bar is None:
            return _Candidates(digests, values, self._request.keys(digests))
        worst, worst_key = self._bar
        if np.isnan(worst):
            ahead, level = ~np.isnan(values), np.isnan(values)
        else:
            ahead, level = values > worst, values == worst
        rows = np.flatnonzero(ahead | level)
        keys = self._request.keys(digests[rows])
        passing = ahead[rows] | (keys <= worst_key)
        return _Candidates(digests[rows], values[rows], keys).take(np.flatnonzero(passing))

    def _settle(self) -> None:
        candidates = _Candidates.joined([self._kept, *self._pending])
        self._pending = []
        self._kept = candidates.ranked(self._request.size)
        if len(self._kept) == self._request.size > 0:
            self._bar = self._kept.values[-1], self._kept.keys[-1]


@dataclass(frozen=True, eq=False)
class _Candidates:
    digests: Digests
    values: NDArray[np.float64]
    keys: NDArray[np.uint64]

    @classmethod
    def none(cls) -> _Candidates:
        return cls(np.empty((0, 16), np.uint8), np.empty(0), np.empty(0, np.uint64))

    @classmethod
    def joined(cls, parts: list[_Candidates]) -> _Candidates:
        return cls(
            np.concatenate([part.digests for part in parts]),
            np.concatenate([part.values for part in parts]),
            np.concatenate([part.keys for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: NDArray[np.intp]) -> _Candidates:
        return _Candidates(self.digests[rows], self.values[rows], self.keys[rows])

    def ranked(self, size: int) -> _Candidates:
        """The ``size`` best, best first, without repetitions."""
        # lexsort's last key counts most, and it puts NaN last whatever the sign.
        order = np.lexsort((as_keys(self.digests), self.keys, -self.values))
        if len(np.unique(self.keys)) < len(order):  # the same sample has the same key; unequal ones almost never do
            first = np.unique(as_keys(self.digests[order]), return_index=True)[1]
            order = order[np.sort(first)]
        return self.take(order[:size])
