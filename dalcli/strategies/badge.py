"""BADGE: uncertain and different at once (Ash, Zhang, Krishnamurthy, Langford & Agarwal, ICLR 2020).

k-means++ on the last layer's pseudo-label gradients: long ones (uncertain samples) are likely, and near ones unlikely
together. The gradients have K·d entries and are held as factors, K + d.
Samples in flight count as chosen already.
"""

from __future__ import annotations

from dalcli.strategies.diverse import Diverse
from dalcli.strategies.kmeanspp import KMeansPlusPlus
from dalcli.strategies.spaces import LastLayerGradients


def badge() -> Diverse:
    """Memory: probabilities and features of the pool (4·(K + d) bytes per sample), within ``query.memory_limit``."""
    return Diverse(LastLayerGradients(), KMeansPlusPlus(), apart_from="in flight")
