"""Strategies put together in the configuration: an acquisition, a space and a selection (``query.compose``).

The named strategies are such compositions too; docs/strategies.md lists them as settings to start from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dalcli.config.querying import ComposeConfig, QueryConfig
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
    compose = query.compose
    acquisition = _acquisition(query)
    ranking = acquisition if compose.power is None else Power(acquisition, compose.power)
    chooser: Strategy = Balanced(ranking) if compose.class_balance else TopValues(ranking)
    if compose.selection == "top":
        return chooser
    return Diverse(
        SPACES[compose.space](),
        _picker(query),
        acquisition=acquisition if compose.weight > 0 or _ranked(compose) else None,
        shortlist=None if compose.candidates is None else Shortlist(chooser, compose.candidates),
        apart_from="known" if compose.apart_from_labeled else "in flight",
    )


def _ranked(compose: ComposeConfig) -> bool:
    """Whether candidates are few because of their values: users see it, and it fills up what a picker leaves over."""
    return compose.candidates is not None and compose.score != "uniform"


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
    compose = query.compose
    pickers: dict[str, Picker] = {
        "kmeans++": KMeansPlusPlus(compose.weight, compose.relative),
        "k-center": KCenterGreedy(),
        "lcmd": LargestCluster(),
        "clusters": ClusterTurns(),
    }
    return pickers[compose.selection]
