"""Cluster-margin: small margins, taken in turn from many clusters (Citovsky et al., NeurIPS 2021).

The ten times budget samples with the smallest margins are clustered by their features; then every cluster gives one at
a time, the smallest clusters first. Made for large batches. The paper clusters the whole pool once, hierarchically
(quadratic in memory); here k-means clusters the candidates, as many clusters as samples are asked for, at most 1,000.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dalcli.strategies.clustering import k_means
from dalcli.strategies.diverse import Diverse, PickTask, Rows, Shortlist
from dalcli.strategies.margin import Margin
from dalcli.strategies.selection import TopValues
from dalcli.strategies.spaces import Features

_MOST_CLUSTERS = 1000


@dataclass(frozen=True)
class ClusterTurns:
    """Round-robin over clusters in order of size, smallest first; within a cluster as the candidates come (at random).

    Memory: that of :func:`~dalcli.strategies.clustering.k_means`.
    """

    def pick(self, task: PickTask) -> Rows:
        labels, _ = k_means(task.points, min(task.size, _MOST_CLUSTERS), task.generator)
        return turns(labels)[: task.size]


def turns(labels: np.ndarray) -> Rows:
    """All rows, by turn and then by cluster size: each cluster's first member, each one's second, and so on."""
    sizes = np.bincount(labels)
    by_cluster = np.argsort(labels, kind="stable")
    starts = np.cumsum(sizes) - sizes
    turn = np.empty(len(labels), np.int64)
    turn[by_cluster] = np.arange(len(labels)) - starts[labels[by_cluster]]
    return np.lexsort((labels, sizes[labels], turn))


def cluster_margin() -> Diverse:
    """Memory: features of ten times the budget."""
    return Diverse(Features(), ClusterTurns(), acquisition=Margin(), shortlist=Shortlist(TopValues(Margin()), 10.0))
