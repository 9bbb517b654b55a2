"""The batch to ask for next: how large, what it is expected to bring, and why."""

from __future__ import annotations

from dalcli.config.planning import CostsConfig
from dalcli.planning.figures import amount
from dalcli.planning.money import unpriced
from dalcli.planning.outlook import Outlook
from dalcli.planning.result import Decision, NextBatch, Proof
from dalcli.planning.situation import Situation
from dalcli.planning.verdict import Limit


def propose(
    situation: Situation, outlook: Outlook | None, decision: Decision | None, limit: Limit | None, proof: Proof | None
) -> NextBatch | None:
    """The proposed size, within what the question allows; None where there is nothing to buy. After what is out.

    Args:
        decision: of the outlook; None where labels or the target have no price.
        proof: where the target is measured and more training labels are the cheapest way to prove it.
    """
    fresh = situation.left - situation.under_way
    size, reason = min(situation.batch, fresh), "the usual batch"
    if proof is not None and proof.training:
        size = min(size, proof.training)
        reason = f"on the way to the {proof.training:,} labels that make the cheapest proof"
    elif outlook is not None and decision is not None:
        size, reason = decision.batch, _why(situation, outlook, decision)
    elif outlook is not None:
        reason += f": {_no_other(situation.costs, outlook)}"
    if limit is not None and limit.labels - situation.under_way < size:
        size, reason = limit.labels - situation.under_way, f"all that comes {limit.words}"
    if size <= 0:
        return None
    return NextBatch(
        labels=size,
        images=min(situation.images(size), situation.states["training"]["unlabeled"]),
        strategy=situation.strategy,
        gain=None if outlook is None else outlook.gain(size),
        money=situation.tariff.money(size, 1),
        reason=reason,
    )


def _why(situation: Situation, outlook: Outlook, decision: Decision) -> str:
    """Why this size: it is expected to cost least, or no other much less."""
    currency, usual = situation.tariff.currency, min(situation.batch, outlook.fresh)
    by_points = outlook.target is None
    if not by_points and not outlook.tariff.per_round:
        return "the usual batch: no fixed cost of a round (costs.price_per_round) speaks for another size"
    costs = {each.labels: each.order if each.go_on is None else each.go_on for each in decision.options}
    if decision.batch == usual:
        least = min(costs.values())
        saved = f"more than 1% of {amount(least, currency)}" if least > 0 else "anything worth it"
        return f"the usual batch: no other size is expected to save {saved}"
    than = f", batches of {usual:,} {_expected(costs[usual], currency)}"
    what = "this batch is expected to" if by_points else "going on in batches of it is expected to"
    return f"{what} {_expected(costs[decision.batch], currency)}{than}"


def _expected(cost: float, currency: str) -> str:
    """A gain in words, where a batch is worth more than it costs."""
    if cost < 0:
        return f"bring {amount(-cost, currency)} more than it costs"
    return f"cost {amount(cost, currency)}"


def _no_other(costs: CostsConfig, outlook: Outlook) -> str:
    """What is not known that would speak for another size."""
    if outlook.tariff.per_label is None:
        return f"whether another size is cheaper is not known ({unpriced(costs)})"
    if outlook.target is None and costs.penalty_for_missing_target:
        return "no target is set that a penalty would speak for"
    return "neither costs.penalty_for_missing_target nor costs.value_per_point speaks for another size"
