"""Diversity in the gradient of the whole network, by sketches: k-means++ and LCMD there.

BADGE sees the last layer only; sketches estimate inner products of all layers' gradients from a few hundred numbers
per sample. Both need ``scoring.sketch``. k-means++ draws (BADGE's way); LCMD is deterministic and splits the largest
cluster next, the best of its kind in Holzmüller et al. (JMLR 2023). Worth it where a sample is new in ways that the
last layer does not show.
"""

from __future__ import annotations

from dalcli.strategies.diverse import Diverse
from dalcli.strategies.kmeanspp import KMeansPlusPlus
from dalcli.strategies.lcmd import LargestCluster
from dalcli.strategies.spaces import GradientSketches


def gradient_kmeans() -> Diverse:
    """Memory: sketches of the pool in float32, within ``query.memory_limit``."""
    return Diverse(GradientSketches(), KMeansPlusPlus(), apart_from="in flight")


def lcmd() -> Diverse:
    """Memory: sketches of the pool in float32, within ``query.memory_limit``."""
    return Diverse(GradientSketches(), LargestCluster(), apart_from="known")
