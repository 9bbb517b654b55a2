"""Is the target proven, and what would prove it: training labels against evaluation labels.

The bound is a confidence sequence (``dalcli/evaluation/intervals.py``): a target that Wilson's interval for one look
"proves" is claimed too often by whoever looks after every round. It is one-sided, as the claim is. A model well above
the target needs few evaluation labels for it, one just above needs very many: so more training labels can be cheaper.
"""

from __future__ import annotations

import math

from dalcli.evaluation.intervals import evaluation_labels_needed, sequential_lower
from dalcli.planning.metrics import Measured, Metric
from dalcli.planning.outlook import Outlook, cheapest
from dalcli.planning.result import Proof

_MARGIN = 1e-9


def proven_value(measured: Measured, level: float) -> float:
    """The value that is proven at ``level``, however often one has looked."""
    return sequential_lower(measured.successes, measured.trials, level)


def evaluation_needed(target: float, value: float, measured: Measured, level: float) -> int | None:
    """More evaluation labels, of all classes, that are expected to prove ``target`` for a model of this ``value``."""
    if not 0 < target < 1:
        return None
    needed = evaluation_labels_needed(target, min(max(value, 0.0), 1.0), measured.trials, level)
    return None if needed is None else math.ceil(needed * measured.examples / measured.trials - _MARGIN)


def proof(
    metric: Metric, measured: Measured, target: float, level: float, outlook: Outlook | None, out: int, most: int
) -> Proof:
    """What proves ``target`` (a value); with a forecast also whether to train first.

    ``most`` more evaluation labels can be had, the first ``out`` of which come in anyway. They cost what training
    labels do.
    """
    proven = proven_value(measured, level) >= target
    now = 0 if proven else evaluation_needed(target, measured.value, measured, level)
    exact = metric.name != "macro"
    if proven:
        return Proof(True, exact, 0, 0, 0, None)
    if outlook is None:
        return Proof(False, exact, now, None if now is None else 0, now, None)
    end = outlook.owned + outlook.left
    sizes = [outlook.owned, *(int(s) for s in outlook.forecast.sizes if outlook.owned < s < end), end]
    needs: dict[int, int] = {}

    def cost(size: int) -> float | None:
        value = measured.value if size == outlook.owned else float(outlook.forecast.at(size, [0.5])[0])
        evaluation = evaluation_needed(target, value, measured, level)
        if evaluation is None:
            return None
        needs[size] = evaluation
        more, bought = size - outlook.owned, max(evaluation - out, 0)
        money = outlook.tariff.money(more + bought, outlook.rounds(more))
        return (more + bought if money is None else money) + (1e18 if evaluation > most else 0)

    best = cheapest(sizes, cost)
    if best is None:
        return Proof(False, exact, now, None, None, None)
    training, evaluation = best[0] - outlook.owned, needs[best[0]]
    money = outlook.tariff.money(training + max(evaluation - out, 0), outlook.rounds(training))
    return Proof(False, exact, now, training, evaluation, money)
