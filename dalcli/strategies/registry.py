"""Every strategy by the name users write in ``query.strategy``: one line each.

A strategy is one file with a :class:`~dalcli.strategies.base.Score` or :class:`~dalcli.strategies.base.Strategy`, one
line here, one test against a reference, one paragraph of docs. A line composes: score source, transforms around it,
and the way to select from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dalcli.config.schema import QueryConfig
from dalcli.config.suggest import suggestion
from dalcli.errors import BadInputError
from dalcli.strategies.base import Strategy
from dalcli.strategies.confidence import LeastConfidence
from dalcli.strategies.dynamical import Dynamical
from dalcli.strategies.entropy import Entropy
from dalcli.strategies.margin import Margin
from dalcli.strategies.random import Random
from dalcli.strategies.selection import TopValues

STRATEGIES: Mapping[str, Callable[[QueryConfig], Strategy]] = {
    "dynamical": lambda query: TopValues(Dynamical(query.gamma)),
    "random": lambda query: Random(),
    "confidence": lambda query: TopValues(LeastConfidence()),
    "margin": lambda query: TopValues(Margin()),
    "entropy": lambda query: TopValues(Entropy()),
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
