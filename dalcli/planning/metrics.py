"""What is planned for: accuracy, macro recall, one class's recall, or the mean cost of an answer.

Inside, every metric is a *value* in [0, 1] of which more is better; people see it in its own units. Only the cost of an
answer differs: its value is 1 − cost / highest cost.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dalcli.config.hashing import short_hash
from dalcli.config.planning import PlanConfig
from dalcli.config.words import suggestion
from dalcli.errors import BadInputError, UsageError
from dalcli.evaluation.intervals import Interval, wilson
from dalcli.forecasting.curves import Floats
from dalcli.planning.class_names import Spellings, find, refusal, required

NAMES = "accuracy, macro, recall:CLASS, error"
_RECALL = "recall:"
_ERROR = "error#"


@dataclass(frozen=True)
class Measured:
    """A metric as it was measured.

    Attributes:
        value: in [0, 1], more is better.
        trials: how many examples that is as sure as; for macro recall the number for which a share varies as much.
        examples: evaluation examples in all, of which ``trials`` may be a part.
    """

    value: float
    trials: int
    examples: int

    @property
    def successes(self) -> float:
        return min(self.value * self.trials, float(self.trials))

    def interval(self, level: float) -> Interval:
        """For one look (Wilson): a mean of numbers in [0, 1] is as sure as a share."""
        count = self.successes
        whole = round(count)
        return wilson(whole if math.isclose(count, whole, abs_tol=1e-6) else count, self.trials, level)


@dataclass(frozen=True)
class Metric:
    """One metric in a workspace.

    Attributes:
        name: as typed, with the class's name of today.
        position: of the class, of ``recall:CLASS`` only; ``former`` names of the metric come from former names of it.
        costs: true × answer, of ``error`` only. (K, K)
    """

    name: str
    label: str
    classes: tuple[str, ...]
    position: int | None = None
    former: tuple[str, ...] = ()
    costs: Floats | None = None

    @property
    def key(self) -> str:
        """What forecasts are kept under: other costs make another metric of ``error``."""
        return self.name if self.costs is None else f"{_ERROR}{short_hash(repr(self.costs.tolist()))}"

    @property
    def less_is_better(self) -> bool:
        return self.costs is not None

    @property
    def highest(self) -> float:
        """The dearest answer, of ``error``; 1 of all others."""
        return 1.0 if self.costs is None else float(self.costs.max())

    def value(self, shown: float) -> float:
        """From its own units."""
        return 1 - shown / self.highest if self.less_is_better else shown

    def shown(self, value: float) -> float:
        """In its own units."""
        return (1 - value) * self.highest if self.less_is_better else value

    @property
    def chance(self) -> float:
        """The value of answering without looking: where forecasts end downwards."""
        classes = max(len(self.classes), 1)
        if self.position is not None:
            return 0.0  # a model may ignore a class altogether
        if self.costs is None:
            return 1 / classes
        return float(1 - self.costs.mean() / self.highest)

    def measure(self, report: Mapping[str, Any]) -> Measured | None:
        """The metric in a stored report; None where it has no example to tell."""
        examples = int(report["examples"])
        if self.name == "accuracy":
            return Measured(float(report["accuracy"]), examples, examples)
        if self.costs is not None:
            return self._mean_cost(np.asarray(report["confusion"], dtype=np.float64), examples)
        everyone = report["classes"]  # by position; called as they were when it was measured
        if self.position is not None:
            everyone = everyone[self.position : self.position + 1]
        known = [c for c in everyone if c["support"] > 0]
        if not known:
            return None
        rates = [c["correct"] / c["support"] for c in known]
        return Measured(float(np.mean(rates)), _as_sure_as(known, float(np.mean(rates))), examples)

    def _mean_cost(self, confusion: Floats, examples: int) -> Measured:
        assert self.costs is not None
        # A version that was measured before a class came has a smaller matrix: its first classes are the same.
        known = len(confusion)
        mean = float((confusion * self.costs[:known, :known]).sum() / max(confusion.sum(), 1))
        return Measured(min(max(1 - mean / self.highest, 0.0), 1.0), examples, examples)


def _as_sure_as(classes: Sequence[Mapping[str, Any]], value: float) -> int:
    """How many examples make a share vary as much as this mean of shares.

    Shares of 0 and 1 vary, too: one success and one failure are added to each for this.
    """
    if len(classes) == 1:
        return int(classes[0]["support"])
    rates = [(c["correct"] + 1) / (c["support"] + 2) for c in classes]
    variance = sum(p * (1 - p) / c["support"] for p, c in zip(rates, classes, strict=True)) / len(classes) ** 2
    middle = float(np.mean(rates))
    most = sum(int(c["support"]) for c in classes)
    return max(1, min(int(middle * (1 - middle) / variance), most))


def parse(name: str, spellings: Spellings, config: PlanConfig, where: str) -> Metric:
    """The metric called ``name``; ``where`` says who named it (``--metric`` or a key), for messages.

    Raises:
        UsageError: there is no such metric or class, and an option named it.
        BadInputError: the same, and the configuration did; or its ``error_costs`` name unknown classes.
    """
    names = tuple(each[0] for each in spellings)
    if name.startswith(_RECALL):
        position = required(name.removeprefix(_RECALL), spellings, where)
        today, *earlier = (f"{_RECALL}{each}" for each in spellings[position])
        return Metric(today, f"recall of {names[position]}", names, position, tuple(earlier))
    if name == "error":
        return Metric(name, "cost per answer", names, costs=_cost_matrix(spellings, config))
    if name not in {"accuracy", "macro"}:
        known = ("accuracy", "macro", "error", *(f"recall:{each}" for each in names))
        raise refusal(where, f"unknown metric '{name}'{suggestion(name, known)}", f"choose one of: {NAMES}")
    return Metric(name, "accuracy" if name == "accuracy" else "macro recall", names)


def key_today(key: str, spellings: Spellings) -> str:
    """A :attr:`Metric.key` that was kept earlier, with the name that its class has today."""
    position = find(key.removeprefix(_RECALL), spellings) if key.startswith(_RECALL) else None
    return key if position is None else f"{_RECALL}{spellings[position][0]}"


def name_of(key: str) -> str:
    """The :attr:`Metric.name` that a :attr:`Metric.key` belongs to."""
    return "error" if key.startswith(_ERROR) else key


def check_target(metric: Metric, target: float, where: str) -> None:
    """Refuse what cannot be a value of this metric.

    Raises:
        UsageError, BadInputError: see :func:`parse`.
    """
    refuse = UsageError if where.startswith("--") else BadInputError
    if metric.less_is_better:
        if not 0 < target < metric.highest:
            raise refuse(
                f"{where} {target:g} is out of range for {metric.label}",
                f"the dearest answer costs {metric.highest:g}: name a number between 0 and that",
            )
    elif not 0 < target < 1:
        percent = f": {target:g}% is {target / 100:g}" if 1 < target <= 100 else ""
        raise refuse(f"{where} {target:g} is out of range{percent}", "name a share between 0 and 1, 0.95 say")


def _cost_matrix(spellings: Spellings, config: PlanConfig) -> Floats:
    where = "dalcli.yaml: plan.error_costs"
    costs = np.ones((len(spellings), len(spellings))) - np.eye(len(spellings))
    for truth, answers in config.error_costs.items():
        for answer, cost in answers.items():
            place = required(truth, spellings, where), required(answer, spellings, where)
            if cost and place[0] == place[1]:
                raise BadInputError(f"{where}.{truth}.{answer}: a right answer costs nothing", "remove the pair")
            costs[place] = cost
    if not costs.max() > 0:
        raise BadInputError(f"{where}: no answer costs anything", "give wrong answers a cost")
    return costs
