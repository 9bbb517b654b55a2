"""How far every point is from the nearest of a growing set of centres."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dalcli.scores.columns import Floats
from dalcli.strategies.points import Points, blocks

_CENTRES = 256


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

    def _add(self, centres: Points) -> None:
        for rows in blocks(len(self._points)):
            distances = self._points.take(rows).sq_distances(centres)
            nearest = distances.argmin(axis=1)
            distance = distances[np.arange(len(nearest)), nearest]
            closer = distance < self.sq_distance[rows]
            self.sq_distance[rows] = np.where(closer, distance, self.sq_distance[rows])
            self.centre[rows] = np.where(closer, nearest + self.count, self.centre[rows])
        self.count += len(centres)
