"""Class balance around any acquisition: the best of every predicted class, the rarest class first.

Uncertain samples often belong to a few confusable or frequent classes. Here classes take turns so that labeled,
in-flight and chosen samples together are as even as the pool allows, by predicted class; within a class the
acquisition decides. For imbalanced pools where rare classes matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapify, heappop, heappush

import numpy as np
from numpy.typing import NDArray

from dalcli.scores.columns import Floats, as_keys
from dalcli.strategies.base import Acquisition, Request, Selection, members


@dataclass(frozen=True)
class Balanced:
    """Each next sample is the best one left of the class with the fewest samples.

    Samples with NaN as their value or in their probabilities come after all others. Memory: about 100 bytes per
    eligible sample.
    """

    acquisition: Acquisition

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.acquisition.columns, "probabilities")))

    def select(self, request: Request) -> Selection:
        if request.size == 0:
            return Selection(np.empty((0, 16), np.uint8))
        digests, values, classes = self._read(request)
        order = np.lexsort((as_keys(digests), request.keys(digests), -values))
        order = order[np.argsort(classes[order] < 0, kind="stable")]  # whose class is unknown comes last
        defined = order[: int(np.count_nonzero((classes >= 0) & ~np.isnan(values)))]
        chosen = _in_turns(classes[defined], _counts(request, classes), request.size)
        rows = np.concatenate([defined[chosen], order[len(defined) :]])[: request.size]
        return Selection(digests[rows], values[rows], len(order) - len(defined))

    def _read(self, request: Request) -> tuple[NDArray[np.uint8], Floats, NDArray[np.int64]]:
        """Digest, value and predicted class (−1: undefined) of every eligible sample."""
        parts = [
            (
                block.digests,
                np.asarray(self.acquisition.values(block, request), np.float64),
                predicted(block["probabilities"]),
            )
            for block in request.eligible_blocks(self.columns)
        ]
        digests, values, classes = (np.concatenate(part) for part in zip(*parts, strict=True))
        return digests, np.where(classes < 0, np.nan, values), classes


def predicted(probabilities: NDArray[np.float32]) -> NDArray[np.int64]:
    """The likeliest class of each row (n, K); −1 where a probability is NaN."""
    top = probabilities.argmax(axis=1)
    undefined = np.isnan(probabilities[np.arange(len(top)), top])  # argmax finds a NaN first
    return np.where(undefined, -1, top)


def _counts(request: Request, classes: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many known samples there are of each predicted class."""
    known = [
        predicted(block["probabilities"])
        for block in members(request.blocks(("probabilities",)), request.known, complete=False)
    ]
    everything = np.concatenate([classes[:0], *known])
    return np.bincount(everything[everything >= 0], minlength=int(classes.max(initial=0)) + 1)


def _in_turns(classes: NDArray[np.int64], counts: NDArray[np.int64], size: int) -> NDArray[np.intp]:
    """Rows (best first within ``classes``) so that the class with the fewest is always served next."""
    if not len(classes):
        return np.empty(0, np.intp)
    by_class = np.argsort(classes, kind="stable")
    present, starts = np.unique(classes[by_class], return_index=True)
    queues = dict(zip(present.tolist(), np.split(by_class, starts[1:]), strict=True))
    # Of equally rare classes the one whose best sample is better comes first.
    heap = [(int(counts[label]), int(rows[0]), label, 0) for label, rows in queues.items()]
    heapify(heap)
    chosen: list[int] = []
    while heap and len(chosen) < size:
        count, row, label, place = heappop(heap)
        chosen.append(row)
        if place + 1 < len(queues[label]):
            heappush(heap, (count + 1, int(queues[label][place + 1]), label, place + 1))
    return np.array(chosen, np.intp)
