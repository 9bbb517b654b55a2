"""LCMD, largest cluster maximum distance (Holzmüller, Zaverkin, Kästner & Steinwart, JMLR 2023).

Every chosen or known point is the centre of a cluster of those nearest to it. Of the cluster with the largest sum of
squared distances, the point farthest from its centre comes next. Between k-center, which outliers attract, and
k-means++, which is random: large, wide clusters get the next label.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dalcli.strategies.diverse import PickTask, Rows
from dalcli.strategies.nearest import Nearest


@dataclass(frozen=True)
class LargestCluster:
    """LCMD's choices; with nothing known, the longest vector comes first.

    Memory: 16 bytes per candidate besides the points. Time: one pass over the points per pick.
    """

    def pick(self, task: PickTask) -> Rows:
        nearest = Nearest(task.points)
        for known in task.known():
            nearest.add(known)
        chosen: list[int] = []
        while len(chosen) < task.size:
            if nearest.count == 0:
                row = int(task.points.sq_norms.argmax())
            else:
                if not nearest.sq_distance.max() > 0:
                    break
                sums = np.bincount(nearest.centre, weights=nearest.sq_distance, minlength=nearest.count)
                inside = nearest.centre == sums.argmax()
                row = int(np.where(inside, nearest.sq_distance, -1.0).argmax())
            chosen.append(row)
            nearest.add(task.points.take(slice(row, row + 1)))
            nearest.sq_distance[row] = 0.0
        return np.array(chosen, np.intp)
