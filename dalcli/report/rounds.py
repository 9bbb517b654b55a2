"""Batch by batch: what was asked for, what came back, and what that cost."""

from __future__ import annotations

from collections.abc import Sequence

from dalcli.config.planning import CostsConfig
from dalcli.planning.money import cost_of
from dalcli.report.contents import Round
from dalcli.state import batches, spending
from dalcli.state.database import Connection
from dalcli.state.spending import VoteGroup


def rounds(connection: Connection, costs: CostsConfig, everything: Sequence[VoteGroup]) -> tuple[Round, ...]:
    """Every batch, oldest first, then what was paid for without one; the amounts add up to what ``plan`` says.

    ``everything``: all votes, which give the prices.
    """
    of_batch = spending.votes_by_batch(connection)
    found = []
    for batch in batches.listing(connection):
        groups = of_batch.get(batch.batch_id, [])
        fixed = costs.price_per_round if batch.purpose == "training" else 0.0
        money = _money(costs, everything, groups, fixed)
        found.append(Round(batch, tuple(batches.strategies(connection, batch)), _bought(groups), money))
    others = of_batch.get(None, [])
    if _bought(others):
        found.append(Round(None, (), _bought(others), _money(costs, everything, others, 0.0)))
    return tuple(found)


def _bought(groups: list[VoteGroup]) -> int:
    return sum(group.bought for group in groups)


def _money(costs: CostsConfig, everything: Sequence[VoteGroup], groups: list[VoteGroup], fixed: float) -> float | None:
    money = cost_of(costs, everything, groups)
    return None if money is None else money + fixed
