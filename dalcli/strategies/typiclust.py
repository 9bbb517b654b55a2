"""TypiClust: the most typical sample of every cluster not labeled yet (Hacohen, Dekel & Weinshall, ICML 2022).

Made for the first few labels, when a model's doubts say little: dense regions first, one label for each. Clusters are
k-means on features of length 1, as many as labels there will be, at most 500; typicality is the inverse mean distance
to the 20 nearest of the same cluster. The better the features (pretrained weights), the better it does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dalcli.strategies.clustering import assign, k_means
from dalcli.strategies.diverse import Diverse, PickTask, Rows
from dalcli.strategies.points import Points, blocks
from dalcli.strategies.spaces import Features

_MOST_CLUSTERS = 500
_SMALLEST = 5
_NEIGHBOURS = 20
_MOST_COMPARED = 1024


@dataclass(frozen=True)
class TypicalOfClusters:
    """The least served cluster next (fewest known and chosen members, then the largest), and of it the most typical.

    Clusters of fewer than five are left for last. Memory: that of k-means, and in a cluster of c members c × c
    distances in blocks; of more than 1,024 members a random 1,024 are the neighbours.
    """

    def pick(self, task: PickTask) -> Rows:
        known = list(_counts_of_known(task))
        wanted = min(sum(known) + task.size, _MOST_CLUSTERS)
        labels, centres = k_means(task.points, wanted, task.generator)
        served = np.zeros(len(centres), np.int64)
        for points in task.known():
            served += np.bincount(assign(points, centres), minlength=len(centres))
        sizes = np.bincount(labels, minlength=len(centres))
        waiting = {number: _by_typicality(task.points, labels == number) for number in np.flatnonzero(sizes)}
        chosen: list[int] = []
        while len(chosen) < task.size and waiting:
            number = min(waiting, key=lambda c: (sizes[c] < _SMALLEST, served[c], -sizes[c], c))
            chosen.append(waiting[number].pop(0))
            served[number] += 1
            if not waiting[number]:
                del waiting[number]
        return np.array(chosen, np.intp)


def _counts_of_known(task: PickTask) -> list[int]:
    return [len(points) for points in task.known()]


def _by_typicality(points: Points, members: NDArray[np.bool_]) -> list[int]:
    """The rows of one cluster, most typical first."""
    rows = np.flatnonzero(members)
    if len(rows) == 1:
        return [int(rows[0])]
    others = points.take(rows[:_MOST_COMPARED])
    neighbours = min(_NEIGHBOURS, len(others) - 1)
    distance = np.empty(len(rows))
    for piece in blocks(len(rows)):
        distances = points.take(rows[piece]).sq_distances(others)
        nearest = np.sqrt(np.partition(distances, neighbours, axis=1)[:, : neighbours + 1])
        # The nearest of the compared ones is itself, at 0; the rest have one real neighbour too many.
        surplus = np.where(np.arange(len(rows))[piece] < len(others), 0.0, nearest.max(axis=1))
        distance[piece] = (nearest.sum(axis=1) - surplus) / neighbours
    return [int(row) for row in rows[np.argsort(distance, kind="stable")]]


def typiclust() -> Diverse:
    """Memory: features of the pool (4·d bytes per sample), within ``query.memory_limit``."""
    return Diverse(Features(unit=True), TypicalOfClusters(), apart_from="known")
