"""``plan``: what the next labels buy, and when to stop. Imports torch only to fit ``subsets``.

The first file of this room to read. ``situation`` reads everything in one snapshot; ``trajectory`` and ``basis`` say
which points make one curve; ``dalcli/forecasting`` makes many possible futures of it; ``outlook`` and ``proving`` ask
them, ``verdict`` judges, ``answering`` puts it together; ``ledger`` keeps what was foretold, for what came to be held
against it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import date

from dalcli.config.hashing import derive_seed
from dalcli.config.words import counted
from dalcli.errors import BadInputError, DalcliError, NotReadyError
from dalcli.forecasting.cautions import FAR
from dalcli.forecasting.curves import NotEnoughPoints, Point
from dalcli.forecasting.forecast import Forecast, forecast
from dalcli.planning import ledger, subsets
from dalcli.planning.answering import Made, answer
from dalcli.planning.basis import ENOUGH, Points, points_of
from dalcli.planning.days import Pace, working_days_until
from dalcli.planning.figures import amount
from dalcli.planning.metrics import Metric, check_target
from dalcli.planning.money import unpriced
from dalcli.planning.outlook import Outlook
from dalcli.planning.result import PlanResult, Question
from dalcli.planning.situation import Situation, read
from dalcli.planning.verdict import Evidence, Limit, next_step, verdict
from dalcli.state import forecasts
from dalcli.workspace.session import Session


@dataclass(frozen=True)
class PlanRequest:
    """What is asked; at most one of ``budget``, ``money`` and ``deadline``.

    Attributes:
        target: in the metric's units; None: ``plan.target``, if there is one.
        budget: labels on top of those there are; ``money`` the same in the currency.
        deadline: the last day on which labels count.
        metric: None: ``plan.metric``.
        subsets: forecast from models trained on random parts of the labels, and train those that are missing.
        today: days are counted from the next one on.
        demanding: a question that cannot be answered at all is an error, not a verdict.
    """

    target: float | None = None
    budget: int | None = None
    money: float | None = None
    deadline: date | None = None
    metric: str | None = None
    subsets: bool = False
    today: date = date.min
    demanding: bool = True

    @property
    def question(self) -> Question:
        """What is asked first of all."""
        if self.budget is not None:
            return "budget"
        if self.money is not None:
            return "money"
        if self.deadline is not None:
            return "deadline"
        return "standing" if self.target is None else "target"


def plan(session: Session, request: PlanRequest) -> PlanResult:
    """Where we stand, what labels buy, and the verdict; the forecast behind it is kept in the ledger.

    Raises:
        UsageError: an option means nothing here.
        BadInputError: the configuration lacks what the question needs, or names what there is not.
        NotReadyError: a question was asked, and nothing has been measured.
    """
    metric_name = request.metric or session.config.plan.metric
    where = "--metric" if request.metric is not None else "dalcli.yaml: plan.metric"
    situation = read(session, metric_name, where)
    target = _target(session, request, situation.metric)
    _check_priced(session, request, situation)
    if not situation.curve.points and request.demanding and request.question != "standing":
        raise _nothing_measured(situation)
    parts = _parts(session, request, situation)
    made = _forecast(session, situation, points_of(situation, parts, request.subsets))
    outlook = None if made.forecast is None else _outlook(request, situation, target, made.forecast)
    decision = None
    if outlook is not None and outlook.fresh:
        decision = outlook.decision(usual=target is not None and situation.measures(target))
    if outlook is not None and decision is not None:  # everything is reckoned in the batches that are proposed
        outlook = replace(outlook, batch=decision.batch)
    limit = _limit(request, situation, situation.batch if outlook is None else outlook.batch)
    level = session.config.evaluation.confidence
    return answer(situation, request.question, target, limit, made, outlook, decision, level)


def _target(session: Session, request: PlanRequest, metric: Metric) -> float | None:
    """As a value in [0, 1]."""
    config = session.config.plan
    if request.target is not None:
        check_target(metric, request.target, "--target")
        return metric.value(request.target)
    if config.target is None or config.metric not in {metric.name, *metric.former}:  # it is a target of that metric
        return None
    check_target(metric, config.target, "dalcli.yaml: plan.target:")
    return metric.value(config.target)


def _check_priced(session: Session, request: PlanRequest, situation: Situation) -> None:
    """Before anything is computed.

    Raises:
        BadInputError: nobody has said what a label costs, or how many come in a day.
    """
    path = session.workspace.config_path
    if request.money is not None and situation.tariff.per_label is None:
        raise BadInputError(
            f"{path}: {unpriced(situation.costs)}: what money buys cannot be told",
            "say what a label costs, under costs: in dalcli.yaml, or ask with --budget LABELS",
        )
    if request.deadline is not None and situation.costs.labels_per_day is None:
        raise BadInputError(
            f"{path}: costs.labels_per_day is not set: what comes in by then is not known",
            "say how many labels come in on a working day, under costs: in dalcli.yaml, or ask with --budget",
        )


def _limit(request: PlanRequest, situation: Situation, batch: int) -> Limit | None:
    """Labels that the question allows, on top of those there are, in batches of ``batch``."""
    costs = situation.costs
    if request.budget is not None:
        return Limit(request.budget, f"with {counted(request.budget, 'more label')}")
    if request.money is not None:
        affordable = situation.tariff.affordable(request.money, batch, situation.under_way)
        return Limit(affordable, f"with {amount(request.money, situation.tariff.currency)}")
    if request.deadline is not None and costs.labels_per_day is not None:
        days = working_days_until(request.today, request.deadline, costs.working_days)
        pace = Pace(costs.labels_per_day * situation.usable, costs.days_per_round)
        return Limit(pace.labels(days, batch, situation.under_way), f"by {request.deadline.isoformat()}")
    return None


def _nothing_measured(situation: Situation) -> NotReadyError:
    found, reason = verdict(Evidence(situation))
    return NotReadyError(f"nothing to plan from: {reason}", f"run: {next_step(situation, found, None, None)}")


def _parts(session: Session, request: PlanRequest, situation: Situation) -> tuple[Point, ...]:
    """Models trained on random parts of the labels, where they are asked for, or needed and soon trained.

    Raises:
        NotReadyError: they are asked for, and the newest model was not measured, or has too few labels.
    """
    if not request.subsets and situation.curve.sizes >= ENOUGH:
        return ()
    parts = subsets.plan_parts(session, situation)
    why_not = _without_parts(situation, parts)
    if parts is None or why_not is not None:
        if request.subsets:
            raise NotReadyError(f"nothing to take parts of: {why_not}", "see: dalcli status")
        return ()
    frozen = parts.model.penalty is not None
    if parts.missing and not (request.subsets or frozen):
        return ()
    try:
        return subsets.points(subsets.fit_missing(session, parts), situation.metric)
    except DalcliError as error:
        if request.subsets:
            raise
        session.feedback.warn(
            f"no models were trained on parts of the labels: {error.message}"
        )  # nobody asked for them
        return ()


def _without_parts(situation: Situation, parts: subsets.Parts | None) -> str | None:
    if parts is None:
        return "there is no model, or no evaluation label"
    if not situation.curve.points and situation.measured:
        return f"no evaluation label tells the {situation.metric.label}"
    if not situation.curve.points or situation.curve.points[-1].version != parts.model.version:
        return f"{parts.model.version} was not measured: dalcli evaluate"
    fewest = len({size for size, _ in parts.wanted})
    if fewest < ENOUGH:
        return f"{counted(parts.model.labels, 'label')} make {counted(fewest, 'size')}, fewer than {ENOUGH}"
    return None


def _forecast(session: Session, situation: Situation, points: Points) -> Made:
    """The forecast of today's curve, kept in the ledger; or why there is none."""
    metric = situation.metric
    # A class keeps its place, whatever it is called.
    of = metric.key if metric.position is None else f"recall {metric.position}"
    seed = derive_seed(session.config.seed, "plan", of)
    measured = max((point.labels for point in points.curve.points), default=1)
    horizon = max(situation.owned + situation.left, math.ceil(FAR * measured))
    try:
        made = forecast(points.curve, horizon=horizon, seed=seed)
    except NotEnoughPoints as few:
        return Made(points, None, _come_back(few, measurable=bool(situation.curve.points)))
    version = situation.curve.points[-1].version
    inputs = ledger.inputs_digest([(p.labels, p.value, p.evaluated) for p in points.curve.points], points.kind)
    with session.database.read() as connection:
        keys = (metric.key, *metric.former)
        known = any(forecasts.is_stored(connection, version, key, inputs) for key in keys)
    if not known and session.database.writable:  # who may only read gets an answer, too
        kept = ledger.to_store(made, version, metric, points.kind, points.sizes)
        with session.database.write() as connection:
            forecasts.store(connection, kept, inputs)
    return Made(points, made, None)


def _outlook(request: PlanRequest, situation: Situation, target: float | None, made: Forecast) -> Outlook:
    return Outlook(
        forecast=made,
        metric=situation.metric,
        target=target,
        owned=situation.owned,
        left=situation.left,
        batch=situation.batch,
        under_way=situation.under_way,
        usable=situation.usable,
        tariff=situation.tariff,
        costs=situation.costs,
        today=request.today,
    )


def _come_back(few: NotEnoughPoints, *, measurable: bool) -> str:
    missing = few.need - few.have
    instead = ", or try --subsets" if measurable else ""
    return (
        f"not enough rounds yet: a forecast needs {few.need} measured versions with different numbers of labels, "
        f"and there {'is' if few.have == 1 else 'are'} {few.have}: come back after {missing} more{instead}"
    )
