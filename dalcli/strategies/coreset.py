"""Coreset: cover the pool, so that no sample is far from a labeled one (Sener & Savarese, ICLR 2018).

k-center greedy on penultimate features, seeded with the labeled and the in-flight samples. Blind to what the model
finds hard: at its best with few classes, good features and much redundancy; outliers attract it.
"""

from __future__ import annotations

from dalcli.strategies.diverse import Diverse
from dalcli.strategies.kcenter import KCenterGreedy
from dalcli.strategies.spaces import Features


def coreset() -> Diverse:
    """Memory: features of the pool (4·d bytes per sample), within ``query.memory_limit``."""
    return Diverse(Features(), KCenterGreedy(), apart_from="known")
