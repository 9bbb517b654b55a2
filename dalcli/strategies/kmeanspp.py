"""k-means++ seeding: draws in proportion to the squared distance from what is chosen (Arthur & Vassilvitskii 2007).

Exactly that distribution, a factor cheaper: many proposals are drawn from stale distances, and each is accepted with
probability fresh / stale (distances only shrink). All accepted ones then update the pool in one matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dalcli.scores.columns import Floats
from dalcli.strategies.diverse import PickTask, Rows
from dalcli.strategies.nearest import Nearest

_PROPOSALS = 64


@dataclass(frozen=True)
class KMeansPlusPlus:
    """D² sampling.

    Attributes:
        power: with an acquisition, its positive values to this power weigh the draws; 0 leaves them out. Not positive
            values are then never drawn.
        relative: the origin is a centre, and distances count relative to the point's own length: the first pick is
            drawn by its value alone, and what is close to a pick loses in proportion.

    Without ``relative`` and with nothing known, the first pick is the longest vector (as BADGE's authors do it), or the
    highest value if values weigh. Memory: 32 bytes per candidate besides the points.
    """

    power: float = 0.0
    relative: bool = False

    def pick(self, task: PickTask) -> Rows:
        weights = self._weights(task)
        if not weights.any():  # no positive value: nothing to draw, not even a first pick
            return np.empty(0, np.intp)
        nearest = Nearest(task.points)
        if self.relative:
            nearest.sq_distance[:] = task.points.sq_norms
        for known in task.known():
            nearest.add(known)
        chosen: list[int] = []
        if nearest.count == 0 and not self.relative:
            first = int((task.points.sq_norms if self.power == 0 else weights).argmax())
            chosen.append(first)
            nearest.add(task.points.take(slice(first, first + 1)))
            nearest.sq_distance[first] = 0.0
        while len(chosen) < task.size:
            batch = _draw(task, nearest.sq_distance, weights, task.size - len(chosen))
            if not batch:
                break
            nearest.add(task.points.take(np.array(batch)))
            nearest.sq_distance[batch] = 0.0
            chosen += batch
        return np.array(chosen, np.intp)

    def _weights(self, task: PickTask) -> Floats:
        """(n,) in [0, 1]: what a squared distance is multiplied by."""
        weights = np.ones(len(task.points))
        if self.power > 0 and task.values is not None:
            weights = positive_share(task.values) ** self.power
        if self.relative:
            lengths = task.points.sq_norms
            longest = float(lengths.max(initial=0.0))
            # An inverse scaled to stay finite: only proportions count.
            inverse = np.divide(longest, lengths, out=np.zeros_like(lengths), where=lengths > 0)
            weights = weights * inverse
        return weights


def positive_share(values: Floats) -> Floats:
    """Values relative to the largest finite one, clipped to [0, 1]; all 0 if none is positive."""
    largest = values[np.isfinite(values)].max(initial=0.0)
    if not largest > 0:
        return (values > 0).astype(np.float64)
    shares: Floats = np.clip(values, 0.0, largest) / largest
    return shares


def _draw(task: PickTask, stale: Floats, weights: Floats, wanted: int) -> list[int]:
    """At least one more pick, at most ``wanted``; none if nothing has any weight left."""
    scale = stale.max(initial=0.0)
    cumulated = np.cumsum(weights * (stale / scale)) if scale > 0 else np.zeros(1)
    total = cumulated[-1]
    if not total > 0:
        return []
    uniform = task.generator.random((2, min(_PROPOSALS, 4 * wanted)))
    # ``right`` steps over rows without weight; a draw rounded up to the total belongs to the last row with weight.
    last = int(np.searchsorted(cumulated, total, side="left"))
    proposals = np.minimum(np.searchsorted(cumulated, uniform[0] * total, side="right"), last)
    points = task.points.take(proposals)
    between = points.sq_distances(points)
    fresh = stale[proposals].copy()
    batch: list[int] = []
    for number, row in enumerate(proposals):
        if len(batch) == wanted:
            break
        if int(row) not in batch and uniform[1, number] * stale[row] < fresh[number]:
            batch.append(int(row))
            fresh = np.minimum(fresh, between[:, number])
    return batch
