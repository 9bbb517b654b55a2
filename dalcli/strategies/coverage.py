"""Greedy coverage: the points that raise Σ_x w(x) · max_{s ∈ S ∪ Q} k(x, s) most, one after the other.

k is a Gaussian kernel, S what is known, Q what is chosen; x runs over a pool that may be a sample. w = 1 is MaxHerding,
w = uncertainty is Uncertainty Herding. The objective is monotone and submodular: gains only shrink, so an earlier gain
is an upper bound, and only candidates whose bound is in front are looked at again: the choices of plain greedy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dalcli.scores.columns import Floats
from dalcli.strategies.diverse import Rows
from dalcli.strategies.nearest import Nearest
from dalcli.strategies.points import Points, blocks

_AT_ONCE = 256
_DISTANCES = 1 << 20
"""At once on the way to kernel values: 8 MiB, which each part takes again instead of asking for more."""


@dataclass(frozen=True, eq=False)
class OwnWeights:
    """For pools that are samples: what candidates weigh themselves, so that nobody's own gain is left to chance.

    Attributes:
        weights: (n,) float64, the candidates' true weights.
        places: (n,) where each candidate is in the pool, −1 where it is not; its weight there is not counted as well.
    """

    weights: Floats
    places: Rows


class Coverage:
    """Candidates, the pool they are to cover, and what is covered so far.

    Args:
        points: the candidates, n.
        pool: what is to be covered, r points.
        sq_width: σ² of k(x, s) = exp(−‖x − s‖² / σ²), positive.
        known: what covers already, some at a time.
        weights: (r,) w(x); None: 1.
        own: see :class:`OwnWeights`; None: candidates count as far as they are in the pool.

    Memory: n × r kernel values in float32. Time: n × r × dimensions once, then r for each gain looked at.
    """

    def __init__(
        self,
        points: Points,
        pool: Points,
        sq_width: float,
        known: Iterator[Points],
        weights: Floats | None = None,
        own: OwnWeights | None = None,
    ) -> None:
        self._points, self._sq_width, self._own = points, sq_width, own
        to_pool, to_points = Nearest(pool), Nearest(points)
        for some in known:
            to_pool.add(some)
            if own is not None:
                to_points.add(some)
        scale = np.float32(1) if weights is None else weights.astype(np.float32)
        self._kernel = np.empty((len(points), len(pool)), np.float32)
        for rows in blocks(len(points)):
            self._fill(rows.start, points.take(rows), pool, scale)
        self._covered = self._values(to_pool.sq_distance) * scale
        if own is not None:
            inside = np.flatnonzero(own.places >= 0)
            self._kernel[inside, own.places[inside]] = 0.0
            self._open = 1.0 - self._values(to_points.sq_distance).astype(np.float64)
            self._seen = np.zeros(len(points), np.intp)
        self._chosen: list[int] = []
        self._gains = np.empty(len(points))
        for rows in blocks(len(points)):
            self._gains[rows] = self._fresh(np.arange(len(points))[rows])

    def _fill(self, start: int, some: Points, pool: Points, scale: NDArray[np.float32] | np.float32) -> None:
        """Kernel values of ``some`` candidates, from row ``start`` on."""
        inner = some.inner(pool)
        rows = max(1, _DISTANCES // max(1, len(pool)))
        for first in range(0, len(some), rows):
            part = slice(first, first + rows)
            distances = some.take(part).sq_distances_of(inner[part], pool)
            np.multiply(self._values(distances), scale, out=self._kernel[start:][part])

    def pick(self, size: int) -> Rows:
        """Rows of the candidates, best first: ``size``, or fewer if nothing is left to gain; of equals the first."""
        while len(self._chosen) < size:
            row = self._best()
            if not self._gains[row] > 0:
                break
            self._chosen.append(row)
            np.maximum(self._covered, self._kernel[row], out=self._covered)
            if self._own is not None and self._own.places[row] >= 0:
                self._covered[self._own.places[row]] = np.inf  # covered whole: nothing gains there any more
            self._gains[row] = 0.0
        return np.array(self._chosen, np.intp)

    def _best(self) -> int:
        """The row of the largest gain, brought up to date; those in front are, more and more at once."""
        fresh = np.zeros(len(self._gains), bool)
        count = 1
        while True:
            row = int(self._gains.argmax())
            if fresh[row]:
                return row
            front = np.argpartition(self._gains, -count)[-count:]
            rows = np.union1d(front[~fresh[front] & (self._gains[front] > 0)], row)
            self._gains[rows] = self._fresh(rows)
            fresh[rows] = True
            count = min(2 * count, _AT_ONCE, len(self._gains))

    def _fresh(self, rows: Rows) -> Floats:
        """The gains of ``rows``, now."""
        kernel = self._kernel[rows]
        kernel -= self._covered
        gains: Floats = np.maximum(kernel, 0.0, out=kernel).sum(axis=1, dtype=np.float64)
        if self._own is not None:
            gains += self._own.weights[rows] * self._still_open(rows)
        return gains

    def _still_open(self, rows: Rows) -> Floats:
        """1 − max_s k(x, s) of the candidates ``rows`` themselves, with what was chosen since they were last asked."""
        assert self._own is not None
        since = self._chosen[int(self._seen[rows].min()) :]
        if since:
            distances = self._points.take(rows).sq_distances(self._points.take(np.array(since))).min(axis=1)
            self._open[rows] = np.minimum(self._open[rows], 1.0 - self._values(distances))
            self._seen[rows] = len(self._chosen)
        return self._open[rows]

    def _values(self, sq_distances: Floats) -> NDArray[np.float32]:
        scaled = np.empty(sq_distances.shape, np.float32)
        np.multiply(sq_distances, -1.0 / self._sq_width, out=scaled, casting="same_kind")
        return np.exp(scaled, out=scaled)  # ten times as fast as in float64, for the same float32 digits but the last


def median_sq_distance(points: Points) -> float:
    """Over all pairs of different points; 0 if there are none, or most coincide (then the mean)."""
    distances = points.sq_distances(points)[np.triu_indices(len(points), 1)]
    if not len(distances):
        return 0.0
    return float(np.median(distances)) or float(distances.mean())
