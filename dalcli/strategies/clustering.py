"""k-means on points with one factor, in blocks (Lloyd's iterations from k-means++ seeds)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dalcli.strategies.diverse import PickTask
from dalcli.strategies.kmeanspp import KMeansPlusPlus
from dalcli.strategies.nearest import Nearest
from dalcli.strategies.points import Points, blocks

ITERATIONS = 10
_PER_CLUSTER = 32


def k_means(points: Points, clusters: int, generator: np.random.Generator) -> tuple[NDArray[np.int64], Points]:
    """Cluster number of each point (n,), and the centres, at most ``clusters`` of them (fewer if points coincide).

    Of more than 32 points per cluster the first ones (a random part: that is how candidates come) make the centres.
    Memory: 16 bytes per point, the centres, and one block of distances. Time: centres × dimensions × (points + 320 ×
    centres).
    """
    sample = points.take(slice(0, _PER_CLUSTER * clusters))
    seeds = KMeansPlusPlus().pick(PickTask(sample, min(clusters, len(sample)), None, lambda: iter(()), generator))
    centres = sample.take(seeds)
    labels = assign(sample, centres)
    for _ in range(ITERATIONS):
        centres = _means(sample, labels, centres)
        moved = assign(sample, centres)
        if (moved == labels).all():
            break
        labels = moved
    return (labels if len(sample) == len(points) else assign(points, centres)), centres


def assign(points: Points, centres: Points) -> NDArray[np.int64]:
    """The nearest centre of each point (n,)."""
    nearest = Nearest(points)
    nearest.add(centres)
    return nearest.centre


def _means(points: Points, labels: NDArray[np.int64], centres: Points) -> Points:
    """The mean of each cluster; an empty one keeps its centre."""
    (matrix,) = points.factors
    sums = np.zeros(centres.factors[0].shape)
    for rows in blocks(len(points)):
        order = np.argsort(labels[rows], kind="stable")
        present, starts = np.unique(labels[rows][order], return_index=True)
        sums[present] += np.add.reduceat(matrix[rows][order].astype(np.float64), starts, axis=0)
    sizes = np.bincount(labels, minlength=len(centres))
    filled = sizes > 0
    means = centres.factors[0].copy()
    means[filled] = sums[filled] / sizes[filled, None]
    return Points((means,), (0.0,), np.square(means.astype(np.float64)).sum(axis=1))
