"""LCMD, largest cluster maximum distance (Holzmüller, Zaverkin, Kästner & Steinwart, JMLR 2023).

Every chosen or known point is the centre of a cluster of those nearest to it. Of the cluster with the largest sum of
squared distances, the point farthest from its centre comes next. Between k-center, which outliers attract, and
k-means++, which is random: large, wide clusters get the next label.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dalcli.strategies.diverse import PickTask, Rows
from dalcli.strategies.nearest import Ahead, Nearest


@dataclass(frozen=True)
class LargestCluster:
    """LCMD's choices; with nothing known, the longest vector comes first.

    Memory: 144 bytes per candidate besides the points. Time: at most one pass over the points per pick; picks that come
    as expected share it.
    """

    def pick(self, task: PickTask) -> Rows:
        nearest = Nearest(task.points)
        for known in task.known():
            nearest.add(known)
        ahead = Ahead(task.points, lambda count: _expected(nearest, count))
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
            nearest.add_known(task.points.take(slice(row, row + 1)), ahead.inner(row))
            nearest.sq_distance[row] = 0.0
        return np.array(chosen, np.intp)


def _expected(nearest: Nearest, count: int) -> Rows:
    """The next ``count`` picks, if each took nothing but itself out of its cluster."""
    if nearest.count == 0:
        return np.empty(0, np.intp)
    sums = np.bincount(nearest.centre, weights=nearest.sq_distance, minlength=nearest.count)
    large = np.argsort(-sums)[:count]
    queues = {}
    for number in large:
        members = np.flatnonzero(nearest.centre == number)
        if len(members) > count:
            members = members[np.argpartition(nearest.sq_distance[members], -count)[-count:]]
        queues[int(number)] = members[np.argsort(nearest.sq_distance[members])].tolist()
    rows = []
    for _ in range(count):
        number = max(queues, key=lambda cluster: sums[cluster])
        if not queues[number]:
            break
        rows.append(queues[number].pop())
        sums[number] -= nearest.sq_distance[rows[-1]]
    return np.array(rows, np.intp)
