"""The b highest values of an acquisition, exactly, in one streaming pass.

Order: value descending, NaN after everything, ties by the smaller keyed hash of the content (never by order of
arrival), and by digest should two hashes collide. Once b candidates are known, most rows fail one comparison with the
worst of them, and only the few that pass cost a hash and a look-up among the eligible samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dalcli.scores.columns import Digests, Floats, as_keys
from dalcli.scores.table import ScoreBlock
from dalcli.strategies.base import Acquisition, Request, Selection, unscored

_CHUNK = 8192


@dataclass(frozen=True)
class TopValues:
    """The strategy that asks for the samples with the highest values of one acquisition."""

    acquisition: Acquisition

    @property
    def columns(self) -> tuple[str, ...]:
        return self.acquisition.columns

    def select(self, request: Request) -> Selection:
        best = Best(request)
        for block in request.blocks(self.columns):
            best.offer(block.digests, self._values(block, request))
        selection = best.selection()
        if len(selection.digests) < request.size:
            raise unscored(len(request.eligible) - len(selection.digests), len(request.eligible))
        return selection

    def _values(self, block: ScoreBlock, request: Request) -> NDArray[Any]:
        values = self.acquisition.values(block, request)
        if values.shape != (len(block),):
            raise ValueError(f"{self.acquisition}: {values.shape} values for {len(block)} samples")
        return values


class Best:
    """Collects the ``request.size`` best eligible samples of a stream; memory in proportion to that number.

    A sample offered twice counts once, with its better value.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self._digests: Digests = np.empty((0, 16), np.uint8)
        self._values = np.empty(0)
        self._bar: tuple[np.float64, np.uint64] | None = None
        self._pending: list[tuple[Digests, Floats]] = []
        self._waiting = 0
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
        return Selection(self._digests, self._values, self._non_finite)

    def _offer(self, digests: Digests, values: Floats) -> None:
        undefined = np.isnan(values)
        if undefined.any():
            self._non_finite += int(np.count_nonzero(self._request.eligible.contains(digests[undefined])))
        rows = self._passing(digests, values)
        if len(rows):
            self._pending.append((digests[rows], values[rows]))
            self._waiting += len(rows)
        if self._waiting >= self._request.size:
            self._settle()

    def _passing(self, digests: Digests, values: Floats) -> NDArray[np.intp]:
        """The rows not worse than the worst of a full set of candidates, eligible or not."""
        if self._bar is None:
            return np.arange(len(values))
        worst, worst_key = self._bar
        # Anything is better than NaN, and a comparison with NaN is false.
        undefined = bool(np.isnan(worst))
        rows = np.arange(len(values)) if undefined else np.flatnonzero(values >= worst)
        level = np.isnan(values[rows]) if undefined else values[rows] == worst
        if level.any():
            tied = rows[level]
            kept = tied[self._request.keys(digests[tied]) <= worst_key]
            rows = np.concatenate([rows[~level], kept])
        return rows

    def _settle(self) -> None:
        """Keep the best of what has passed so far, and raise the bar to the worst of them."""
        if not self._pending:
            return
        digests, values = (np.concatenate(part) for part in zip(*self._pending, strict=True))
        self._pending, self._waiting = [], 0
        eligible = self._best_eligible(digests, values)
        digests = np.concatenate([self._digests, digests[eligible]])
        values = np.concatenate([self._values, values[eligible]])
        keys = self._request.keys(digests)
        best = _ranking(digests, values, keys)[: self._request.size]
        self._digests, self._values = digests[best], values[best]
        if len(best) == self._request.size > 0:
            self._bar = values[best[-1]], keys[best[-1]]

    def _best_eligible(self, digests: Digests, values: Floats) -> NDArray[np.intp]:
        """Eligible rows among which are the ``size`` best: a look-up costs more than a comparison, so best rows first.

        What ties with the last one needed is looked up too: their order is not decided here.
        """
        size, found = self._request.size, 0
        order = np.argsort(-values)  # NaN last
        kept, start = [order[:0]], 0
        while start < len(order) and found < size:
            rows = order[start : start + 2 * size]
            rows = np.concatenate([rows, _ties(values, order, start + len(rows))])
            start += len(rows)
            kept.append(rows[self._request.eligible.contains(digests[rows])])
            found = len(np.unique(self._request.keys(digests[np.concatenate(kept)])))  # listed twice counts once
        return np.concatenate(kept)


def _ties(values: Floats, order: NDArray[np.intp], stop: int) -> NDArray[np.intp]:
    """What follows in ``order`` from ``stop`` on with the value of the row before ``stop``."""
    if stop >= len(order):
        return order[:0]
    last, rest = values[order[stop - 1]], values[order[stop:]]
    level = np.isnan(rest) if np.isnan(last) else rest == last
    return order[stop : stop + int(np.count_nonzero(level))]


def _ranking(digests: Digests, values: Floats, keys: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Row numbers from best to worst, each sample only at its best place."""
    # lexsort's last key counts most, and it puts NaN last whatever the sign.
    order = np.lexsort((as_keys(digests), keys, -values))
    if len(np.unique(keys)) < len(order):  # equal samples have equal keys; different samples almost never do
        first = np.unique(as_keys(digests[order]), return_index=True)[1]
        order = order[np.sort(first)]
    return order
