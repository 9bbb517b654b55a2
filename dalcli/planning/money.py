"""From labels to money and back, and what was spent so far."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dalcli.config.planning import CostsConfig
from dalcli.planning.class_names import Spellings, required
from dalcli.state.spending import VoteGroup

_GREAT_MANY = 10**12
"""Labels that are bought where they cost next to nothing."""


@dataclass(frozen=True)
class Tariff:
    """What labels cost from here on.

    Attributes:
        currency: '' where it was not named.
        per_label: a usable label with all its votes, those spent on skipped and disputed images included; None: nobody
            has said what a label costs.
        per_round: fixed cost of a round.
        source: where ``per_label`` is from.
    """

    currency: str
    per_label: float | None
    per_round: float
    source: str

    def money(self, labels: float, rounds: float) -> float | None:
        """Of so many usable labels in so many rounds."""
        if self.per_label is None or math.isinf(labels):
            return None
        return self.per_label * labels + self.per_round * rounds

    def affordable(self, money: float, batch: int, out: int = 0) -> int:
        """Usable labels that ``money`` buys in batches of ``batch``, after those ``out``, whose rounds are paid.

        Prices that are 0 buy a great many.
        """
        assert self.per_label is not None
        whole = self.per_label * batch + self.per_round
        if money >= whole * _GREAT_MANY:
            return _GREAT_MANY
        first = min(out, self._labels(money))
        money -= first * self.per_label
        rounds = math.floor(money / whole + 1e-9)
        last = self._labels(money - rounds * whole - self.per_round)
        return min(first + rounds * batch + min(last, batch), _GREAT_MANY)

    def _labels(self, money: float) -> int:
        """Whose votes ``money`` pays for; where votes are free, as many as anybody can ask for."""
        if money < 0 or self.per_label is None:
            return 0
        if money >= self.per_label * _GREAT_MANY:
            return _GREAT_MANY
        return math.floor(money / self.per_label + 1e-9)


def rounds_for(labels: float, batch: int, out: int) -> int:
    """Batches still to be handed out for so many labels, the first ``out`` of which have been."""
    return math.ceil(max(labels - out, 0) / batch)


@dataclass(frozen=True)
class Spent:
    """So far, for votes that were bought; ``money`` None where some have neither a cost in the ledger nor a price."""

    votes: int
    rounds: int
    money: float | None
    currency: str


def tariff(costs: CostsConfig, votes: Sequence[VoteGroup], usable: float) -> Tariff:
    """What a usable label costs, if ``usable`` of the answered images give one.

    The classes and annotators to come are taken to be those so far.
    """
    price, source = _price_per_vote(costs, votes)
    per_label = None if price is None else price * costs.votes_per_sample / usable
    return Tariff(costs.currency or "", per_label, costs.price_per_round, source)


def spent(costs: CostsConfig, votes: Sequence[VoteGroup], rounds: int) -> Spent:
    """What the ledger says votes cost; the price of those of which it says nothing."""
    money = cost_of(costs, votes, votes)
    total = None if money is None else money + costs.price_per_round * rounds
    return Spent(sum(group.bought for group in votes), rounds, total, costs.currency or "")


def cost_of(costs: CostsConfig, votes: Sequence[VoteGroup], some: Sequence[VoteGroup]) -> float | None:
    """What ``some`` of the ledger's ``votes`` cost, at the prices that all of them give; None: nobody has said."""
    total: float | None = sum(group.cost for group in some)
    for group in some:
        price = _price_of(costs, votes, group) if group.unpriced else 0.0
        total = None if total is None or price is None else total + price * group.unpriced
    return total


def unpriced(costs: CostsConfig) -> str:
    """Which key would say what a label costs, where neither the configuration nor the ledger does."""
    if costs.price_per_hour is not None and costs.seconds_per_vote is None:
        return "costs.seconds_per_vote is not set, and the ledger has no seconds"
    return "costs.price_per_vote is not set, and the ledger has no costs"


def costs_today(costs: CostsConfig, spellings: Spellings, path: Path) -> CostsConfig:
    """The costs that ``path`` configures, with classes called by today's names.

    Raises:
        BadInputError: a price for a class that there is not.
    """
    where = f"{path}: costs.price_per_vote_by_class"
    by_class = costs.price_per_vote_by_class.items()
    prices = {spellings[required(name, spellings, where)][0]: price for name, price in by_class}
    return costs.model_copy(update={"price_per_vote_by_class": prices})


def _price_per_vote(costs: CostsConfig, votes: Sequence[VoteGroup]) -> tuple[float | None, str]:
    """Configured, averaged over the votes so far where annotators or classes differ; else what votes have cost."""
    training = [group for group in votes if group.purpose == "training"] or list(votes)
    configured = [(group.votes, _configured(costs, votes, group)) for group in training]
    priced = [(count, price) for count, price in configured if price is not None and count]
    if priced:
        return sum(count * price for count, price in priced) / sum(count for count, _ in priced), "dalcli.yaml"
    default = _default(costs, votes)
    if default is not None:
        return default, "dalcli.yaml"
    paid = sum(group.bought - group.unpriced for group in training)
    if paid:
        return sum(group.cost for group in training) / paid, "costs in the ledger"
    return None, ""


def _price_of(costs: CostsConfig, votes: Sequence[VoteGroup], group: VoteGroup) -> float | None:
    configured = _configured(costs, votes, group)
    return _price_per_vote(costs, votes)[0] if configured is None else configured


def _configured(costs: CostsConfig, votes: Sequence[VoteGroup], group: VoteGroup) -> float | None:
    if group.annotator in costs.price_per_vote_by_annotator:
        return costs.price_per_vote_by_annotator[group.annotator]
    if group.label is not None and group.label in costs.price_per_vote_by_class:
        return costs.price_per_vote_by_class[group.label]
    return _default(costs, votes)


def _default(costs: CostsConfig, votes: Sequence[VoteGroup]) -> float | None:
    """A vote's price where neither annotator nor class has one of its own."""
    if costs.price_per_vote is not None:
        return costs.price_per_vote
    if costs.price_per_hour is None:
        return None
    seconds = costs.seconds_per_vote
    if seconds is None:
        timed = sum(group.timed for group in votes)
        seconds = sum(group.seconds for group in votes) / timed if timed else None
    return None if seconds is None else costs.price_per_hour * seconds / 3600
