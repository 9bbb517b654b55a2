"""Strategies put together in the configuration: an acquisition, a space and a selection (``query.compose``).

The named strategies are such compositions too; docs/strategies.md lists them as settings to start from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dalcli.config.schema import ComposeConfig, QueryConfig
from dalcli.strategies.balanced import Balanced
from dalcli.strategies.base import Acquisition, Strategy
from dalcli.strategies.cluster_margin import ClusterTurns
from dalcli.strategies.confidence import LeastConfidence
from dalcli.strategies.diverse import Diverse, Measured, Picker, Shortlist
from dalcli.strategies.dynamical import Dynamical
from dalcli.strategies.entropy import Entropy
from dalcli.strategies.kcenter import KCenterGreedy
from dalcli.strategies.kmeanspp import KMeansPlusPlus
from dalcli.strategies.lcmd import LargestCluster
from dalcli.strategies.margin import Margin
from dalcli.strategies.power import Power
from dalcli.strategies.selection import TopValues
from dalcli.strategies.spaces import Features, GradientSketches, LastLayerGradients, Probabilities, Space

SPACES: Mapping[str, Callable[[], Space]] = {
    "features": Features,
    "probabilities": Probabilities,
    "last-layer": LastLayerGradients,
    "sketch": GradientSketches,
}


def composed(query: QueryConfig) -> Strategy:
    """The strategy that ``query.compose`` describes."""
    wish = query.compose
    acquisition = _acquisition(query)
    ranking = acquisition if wish.power is None else Power(acquisition, wish.power)
    chooser: Strategy = Balanced(ranking) if wish.class_balance else TopValues(ranking)
    if wish.selection == "top":
        return chooser
    return Diverse(
        SPACES[wish.space](),
        _picker(query),
        acquisition=acquisition if wish.weight > 0 or _ranked(wish) else None,
        shortlist=None if wish.candidates is None else Shortlist(chooser, wish.candidates),
        apart_from="known" if wish.apart_from_labeled else "in flight",
    )


def _ranked(wish: ComposeConfig) -> bool:
    """Whether candidates are few because of their values: users see it, and it fills up what a picker leaves over."""
    return wish.candidates is not None and wish.score != "uniform"


def _acquisition(query: QueryConfig) -> Acquisition:
    acquisitions: dict[str, Acquisition] = {
        "uniform": Measured(),
        "dynamical": Dynamical(query.gamma),
        "margin": Margin(),
        "entropy": Entropy(),
        "confidence": LeastConfidence(),
    }
    return acquisitions[query.compose.score]


def _picker(query: QueryConfig) -> Picker:
    wish = query.compose
    pickers: dict[str, Picker] = {
        "kmeans++": KMeansPlusPlus(wish.weight, wish.relative),
        "k-center": KCenterGreedy(),
        "lcmd": LargestCluster(),
        "clusters": ClusterTurns(),
    }
    return pickers[wish.selection]
