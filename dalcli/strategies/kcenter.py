"""k-center greedy: again and again the point farthest from everything chosen or known (Gonzalez 1985).

Exactly the textbook's choices, a factor cheaper: distances only shrink, so a point whose stale distance is not above a
fresh one's need not be looked at. The farthest candidates are followed exactly; the whole pool is brought up to date
only when one of the others may be ahead, with all centres chosen meanwhile in one matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dalcli.strategies.diverse import PickTask, Rows
from dalcli.strategies.nearest import Nearest

_FOLLOWED = 256


@dataclass(frozen=True)
class KCenterGreedy:
    """Farthest first; the first point of all, with nothing known, is the first candidate.

    Memory: 16 bytes per candidate besides the points.
    """

    def pick(self, task: PickTask) -> Rows:
        nearest = Nearest(task.points)
        for known in task.known():
            nearest.add(known)
        chosen: list[int] = []
        if nearest.count == 0:
            chosen.append(0)
            nearest.add(task.points.take(slice(0, 1)))
        while len(chosen) < task.size and nearest.sq_distance.max() > 0:
            batch = _farthest(task, nearest, task.size - len(chosen))
            nearest.add(task.points.take(np.array(batch)))
            nearest.sq_distance[batch] = 0.0
            chosen += batch
        return np.array(chosen, np.intp)


def _farthest(task: PickTask, nearest: Nearest, wanted: int) -> list[int]:
    """The next centres, as many as are certain without looking at every point again; at least one."""
    stale = nearest.sq_distance
    followed = min(_FOLLOWED, len(stale))
    cut = np.partition(stale, len(stale) - followed)[len(stale) - followed]
    rows = np.flatnonzero(stale > cut)  # everything else is at most as far as ``cut``, and stays so
    if not len(rows):
        return [int(stale.argmax())]
    points, current = task.points.take(rows), stale[rows].copy()
    batch: list[int] = []
    while len(batch) < wanted:
        best = int(current.argmax())
        if not current[best] > cut:
            break
        batch.append(int(rows[best]))
        current = np.minimum(current, points.sq_distances(points.take(slice(best, best + 1)))[:, 0])
        current[best] = 0.0
    return batch
