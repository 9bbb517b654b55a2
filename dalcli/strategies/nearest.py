"""How far every point is from the nearest of a growing set of centres."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from dalcli.scores.columns import Floats
from dalcli.strategies.points import Points, blocks

_CENTRES = 256
_LEAST_AHEAD, _MOST_AHEAD = 4, 32
_WORTHWHILE = 8  # so many columns more take about as long as a product with one


class Nearest:
    """Squared distances to the nearest centre, and which one that is.

    Memory: 16 bytes per point and one block of distances. Time per centre: one pass over the points, many centres at
    once sharing it as a matrix product.

    Attributes:
        sq_distance: (n,) float64, inf while there is no centre.
        centre: (n,) int64, the number of the nearest centre in the order of :meth:`add`; −1 while there is none.
        count: how many centres there are.
    """

    def __init__(self, points: Points) -> None:
        self._points = points
        self.sq_distance: Floats = np.full(len(points), np.inf)
        self.centre: NDArray[np.int64] = np.full(len(points), -1)
        self.count = 0

    def add(self, centres: Points) -> None:
        """More centres; of equally near ones the earlier counts."""
        for piece in range(0, len(centres), _CENTRES):
            self._add(centres.take(slice(piece, piece + _CENTRES)))

    def add_known(self, centre: Points, inner: NDArray[np.float32]) -> None:
        """One more centre, whose inner products (n,) with all points are known."""
        distance = self._points.sq_distances_of(inner[:, None], centre)[:, 0]
        closer = np.flatnonzero(distance < self.sq_distance)
        self.sq_distance[closer] = distance[closer]
        self.centre[closer] = self.count
        self.count += 1

    def _add(self, centres: Points) -> None:
        for rows in blocks(len(self._points), max(1, _CENTRES // len(centres))):
            self._update(rows, self._points.take(rows).sq_distances(centres))
        self.count += len(centres)

    def _update(self, rows: slice, distances: Floats) -> None:
        nearest = distances.argmin(axis=1)
        distance = distances[np.arange(len(nearest)), nearest]
        closer = np.flatnonzero(distance < self.sq_distance[rows])
        self.sq_distance[rows][closer] = distance[closer]
        self.centre[rows][closer] = nearest[closer] + self.count


class Ahead:
    """Inner products of all points with one after another, computed before they are asked for.

    A matrix product with 32 points takes little longer than one with a single point: all points have to come from
    memory either way. So each product takes along those that are likely to be asked for next, as many as paid off the
    last time.

    Memory: 128 bytes per point.
    """

    def __init__(self, points: Points, likely: Callable[[int], NDArray[np.intp]]) -> None:
        """``likely``: as many rows as asked for (or fewer) that may be next."""
        self._points, self._likely = points, likely
        self._columns: dict[int, NDArray[np.float32]] = {}
        self._count, self._used = _LEAST_AHEAD, 0

    def inner(self, row: int) -> NDArray[np.float32]:
        """⟨x_i, x_row⟩ (n,) in float32."""
        if row not in self._columns:
            self._compute(row)
        self._used += 1
        return self._columns[row]

    def _compute(self, row: int) -> None:
        if self._columns:
            worthwhile = self._used > 1 + self._count / _WORTHWHILE
            self._count = min(2 * self._count, _MOST_AHEAD) if worthwhile else max(_LEAST_AHEAD, self._count // 2)
        rows = np.union1d(self._likely(self._count), row)
        columns = np.empty((len(rows), len(self._points)), np.float32)
        self._columns, self._used = {}, 0
        others = self._points.take(rows)
        for piece in blocks(len(self._points), max(1, _CENTRES // len(rows))):
            columns[:, piece] = others.inner(self._points.take(piece))
        self._columns = dict(zip(rows.tolist(), columns, strict=True))
