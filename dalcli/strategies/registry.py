"""Every strategy by the name users write in ``query.strategy``: one line each.

A strategy is one file with an :class:`~dalcli.strategies.base.Acquisition` or a
:class:`~dalcli.strategies.base.Strategy`, one line here, one test against a reference, one paragraph of docs. A
line composes: an acquisition, transforms around it, and the way to select from it. ``composed`` does so from the
configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dalcli.config.querying import QueryConfig
from dalcli.config.words import suggestion
from dalcli.errors import BadInputError
from dalcli.strategies.albl import ActiveByLearning
from dalcli.strategies.badge import badge
from dalcli.strategies.bait import bait
from dalcli.strategies.balanced import Balanced
from dalcli.strategies.bald import Bald
from dalcli.strategies.base import Remembered, Strategy
from dalcli.strategies.batchbald import BatchBald
from dalcli.strategies.cluster_margin import cluster_margin
from dalcli.strategies.composed import composed
from dalcli.strategies.confidence import LeastConfidence
from dalcli.strategies.coreset import coreset
from dalcli.strategies.diverse_dynamical import diverse_dynamical
from dalcli.strategies.diverse_margin import diverse_margin
from dalcli.strategies.dynamical import Dynamical
from dalcli.strategies.entropy import Entropy
from dalcli.strategies.gradient_space import gradient_kmeans, lcmd
from dalcli.strategies.joint_dynamical import joint_dynamical
from dalcli.strategies.margin import Margin
from dalcli.strategies.maxherding import maxherding
from dalcli.strategies.power import Power
from dalcli.strategies.random import Random
from dalcli.strategies.selection import TopValues
from dalcli.strategies.typiclust import typiclust
from dalcli.strategies.uncertainty_herding import UncertaintyHerding

STRATEGIES: Mapping[str, Callable[[QueryConfig], Strategy]] = {
    "dynamical": lambda query: TopValues(Dynamical(query.gamma)),
    "random": lambda query: Random(),
    "confidence": lambda query: TopValues(LeastConfidence()),
    "margin": lambda query: TopValues(Margin()),
    "entropy": lambda query: TopValues(Entropy()),
    "power-dynamical": lambda query: TopValues(Power(Dynamical(query.gamma))),
    "power-margin": lambda query: TopValues(Power(Margin())),
    "balanced-dynamical": lambda query: Balanced(Dynamical(query.gamma)),
    "balanced-margin": lambda query: Balanced(Margin()),
    "diverse-margin": lambda query: diverse_margin(),
    "diverse-dynamical": lambda query: diverse_dynamical(query.gamma),
    "joint-dynamical": lambda query: joint_dynamical(query.gamma),
    "badge": lambda query: badge(),
    "coreset": lambda query: coreset(),
    "cluster-margin": lambda query: cluster_margin(),
    "typiclust": lambda query: typiclust(),
    "maxherding": lambda query: maxherding(),
    "uncertainty-herding": lambda query: UncertaintyHerding(),
    "bait": lambda query: bait(),
    "gradient-kmeans": lambda query: gradient_kmeans(),
    "lcmd": lambda query: lcmd(),
    "bald": lambda query: TopValues(Bald()),
    "batchbald": lambda query: BatchBald(),
    "albl": lambda query: Remembered(ActiveByLearning(_experts(query))),
    "composed": composed,
}


def create(name: str, query: QueryConfig, key: str = "query.strategy") -> Strategy:
    """The strategy called ``name``, set up from the ``query`` section; ``key`` is where the user wrote the name.

    Raises:
        BadInputError: there is no such strategy; lists those there are.
    """
    if name not in STRATEGIES:
        message = f"{key}: unknown strategy '{name}'{suggestion(name, STRATEGIES)}"
        raise BadInputError(message, f"choose one of: {', '.join(STRATEGIES)}")
    return STRATEGIES[name](query)


def _experts(query: QueryConfig) -> dict[str, Strategy]:
    """The strategies that ``albl`` chooses between."""
    key = "query.experts"
    if "albl" in query.experts:
        raise BadInputError(f"{key}: albl cannot be its own expert", "choose other strategies")
    return {name: create(name, query, key) for name in query.experts}
