"""Where we are: the learning curve with its forecast, what comes next, and what forecasts were worth."""

from __future__ import annotations

import math
from collections.abc import Iterator

from dalcli.config.words import plural
from dalcli.planning.figures import chance_text
from dalcli.planning.metrics import name_of
from dalcli.planning.result import PlanResult, Purchase
from dalcli.report.blocks import Block, Facts, Section, Table, Text
from dalcli.report.chart import CurveChart
from dalcli.report.contents import Report
from dalcli.report.figures import DASH, figure_of, money, number, of_batch, sentence, spread, way_to_proof

SHOWN_AHEAD = 4.0
PAST_SHOWN = 20
OUTCOMES_SHOWN = 25


def curve(report: Report) -> Section:
    """The measured curve, the forecast's band, and the forecasts of earlier rounds."""
    return Section("learning-curve", "How the model has learned", list(_curve(report)))


def _curve(report: Report) -> Iterator[Block]:
    plan = report.plan
    if not plan.curve:
        yield Text("No model has been measured yet, so there is no curve to draw.", "missing")
        return
    yield _chart(report)
    if plan.basis.refused is not None:
        yield Text(sentence(plan.basis.refused), "missing")
    for caution in (*plan.basis.cautions, *plan.notes):
        yield Text(sentence(caution), "note")
    written = figure_of(plan)
    yield Table(
        "Measured models",
        ("model", "labels", plan.metric_label, f"{100 * plan.standing.level:g}% interval", "measured on"),
        [
            (
                p.version,
                number(p.labels),
                written(p.value),
                f"{written(p.low)} to {written(p.high)}",
                number(p.evaluated),
            )
            for p in plan.curve
        ],
        codes=frozenset({0}),
        folded=12 if len(plan.curve) > 15 else None,
    )


def _chart(report: Report) -> CurveChart:
    plan, written = report.plan, figure_of(report.plan)
    end = _end(plan)
    band = [(b.labels, b.p10, b.p50, b.p90) for b in plan.band if b.labels <= end]
    past = _past(report) if plan.curve else []
    newest = plan.curve[-1]
    said = f"{plan.metric_label} over labels. {plural(len(plan.curve), 'measured model')}: "
    if len(plan.curve) > 1:
        said += f"from {written(plan.curve[0].value)} with {plural(plan.curve[0].labels, 'label')} to "
    said += f"{written(newest.value)} with {plural(newest.labels, 'label')}."
    if band:
        n, p10, p50, p90 = band[-1]
        said += f" Forecast for {number(n)} labels: {written(p50)}, between {written(p10)} and {written(p90)}."
    if plan.target is not None:
        said += f" The target is {written(plan.target)}."
    legend = [("point", "measured, with its interval")]
    legend += [("forecast", "forecast"), ("band", "80 in 100 futures")] if band else []
    legend += [("past", "what earlier rounds foretold")] if past else []
    legend += [("target", "target")] if plan.target is not None else []
    return CurveChart(
        title=f"Learning curve: {plan.metric_label}",
        description=said,
        points=[(p.labels, p.low, p.value, p.high) for p in plan.curve],
        band=band,
        past=past,
        target=plan.target,
        written=written,
        legend=legend,
        most=None if plan.less_is_better else 1.0,
    )


def _end(plan: PlanResult) -> float:
    """As far as the answer is, and not much further than what was measured."""
    ends = [SHOWN_AHEAD * max(point.labels for point in plan.curve)]
    if plan.to_target is not None and plan.to_target.labels.p50 is not None:
        ends.append(1.15 * (plan.standing.labels_now + plan.to_target.labels.p50))
    return max(ends)


def _past(report: Report) -> list[list[tuple[float, float]]]:
    """Forecasts made at earlier versions of this curve: of each as far as there was something to hold against it."""
    plan = report.plan
    earlier = {point.version for point in plan.curve[:-1]}
    latest = plan.curve[-1].labels
    found = [
        [(float(q.labels), q.p50) for q in forecast.quantiles if q.labels <= 1.6 * latest]
        for forecast in report.history.forecasts
        if name_of(forecast.metric) == plan.metric and forecast.version in earlier
    ]
    return [line for line in found[-PAST_SHOWN:] if len(line) > 1]


def ahead(report: Report) -> Section:
    """What the next labels buy."""
    return Section("what-next", "What comes next", list(_ahead(report)))


def _ahead(report: Report) -> Iterator[Block]:
    plan = report.plan
    currency = plan.standing.spent.currency
    yield Facts(list(_next(report)))
    to = plan.to_target
    if to is not None and plan.verdict != "target-reached":
        written = figure_of(plan)
        if to.labels.p10 is None:
            yield Text(
                f"The chance to reach {written(to.target)} with the labels that this pool can give is "
                f"{chance_text(to.chance)}."
            )
        else:
            yield _to_target(plan)
    purchases = [plan.answer] if plan.answer is not None else list(plan.budgets)
    if purchases:
        yield _purchases(plan, purchases, currency)
    elif plan.band == ():
        yield Text("What more labels buy is not known yet: there is no forecast.", "missing")


def _next(report: Report) -> Iterator[tuple[str, str]]:
    plan, currency = report.plan, report.plan.standing.spent.currency
    for batch in report.loop.open_batches:
        again = ", for another look" if batch.relabel else ""
        yield (
            f"Batch {batch.batch_id} is out",
            f"{batch.purpose}{again}: {batch.answered:,} of {batch.issued:,} answered, {batch.outstanding:,} to come",
        )
    batch_next = plan.next_batch
    if batch_next is not None and batch_next.labels:
        cost = "" if batch_next.money is None else f", {money(batch_next.money, currency)}"
        yield "Next batch", f"{of_batch(batch_next)} by {batch_next.strategy}{cost}; {batch_next.reason}"
    s = plan.standing
    usable = "" if s.usable == 1 else f", if {100 * s.usable:.1f}% of the images give one, as before"
    yield "Left in the pool", f"{plural(s.left, 'label')}{usable}"
    proof = plan.proof
    if proof is not None and not proof.proven and plan.target is not None:
        yield (
            "To prove the target",
            "not possible with the present model, however many evaluation labels"
            if proof.evaluation_now is None
            else f"about {plural(proof.evaluation_now, 'more evaluation label')} with the present model",
        )
        if proof.training:
            yield "The cheapest proof", f"{way_to_proof(plan)}{_priced(proof.money, currency)}"
    if plan.ceiling is not None:
        yield "With any number of such labels", spread(plan.ceiling, figure_of(plan))


def _priced(cost: float | None, currency: str) -> str:
    return "" if cost is None else f", {money(cost, currency)}"


def _to_target(plan: PlanResult) -> Table:
    to = plan.to_target
    assert to is not None
    written = figure_of(plan)

    def row(name: str, values: tuple[object, object, object]) -> tuple[str, ...]:
        return (name, *("beyond the pool" if value is None else str(value) for value in values))

    labels, cost, days, date = to.labels, to.money, to.days, to.date
    rows = [row("more labels", tuple(None if n is None else number(n) for n in (labels.p10, labels.p50, labels.p90)))]  # type: ignore[arg-type]
    if cost.p10 is not None:
        amounts = [
            None if n is None else money(n, plan.standing.spent.currency) for n in (cost.p10, cost.p50, cost.p90)
        ]
        rows.append(row("money", (amounts[0], amounts[1], amounts[2])))
    if days.p10 is not None:
        whole = [None if n is None else number(math.ceil(n - 1e-9)) for n in (days.p10, days.p50, days.p90)]
        rows.append(row("working days", (whole[0], whole[1], whole[2])))
        rows.append(row("date", (date.p10, date.p50, date.p90)))
    return Table(
        f"What {written(to.target)} takes (the chance to get there within the pool: {chance_text(to.chance)})",
        ("", "if it goes well (10 in 100)", "as likely as not (50 in 100)", "if it goes badly (90 in 100)"),
        rows,
    )


def _purchases(plan: PlanResult, purchases: list[Purchase], currency: str) -> Table:
    written = figure_of(plan)
    header = ["more labels", f"{plan.metric_label} then", "80 in 100 futures"]
    has = {name: any(getattr(each, name) is not None for each in purchases) for name in ("reach", "money", "date")}
    header += [f"chance of {written(plan.target)}"] if has["reach"] and plan.target is not None else []
    header += ["money"] if has["money"] else []
    header += ["date"] if has["date"] else []
    rows = []
    for each in purchases:
        value = each.value
        row = [number(each.labels), written(value.p50), f"{written(value.p10)} to {written(value.p90)}"]
        if has["reach"] and plan.target is not None:
            row.append(DASH if each.reach is None else chance_text(each.reach))
        row += [money(each.money, currency)] if has["money"] else []
        row += [each.date or DASH] if has["date"] else []
        rows.append(row)
    return Table("What more labels buy", header, rows)


def record(report: Report) -> Section:
    """What was foretold, and what came."""
    return Section("forecasts", "What earlier forecasts were worth", list(_record(report)))


def _record(report: Report) -> Iterator[Block]:
    plan, history = report.plan, report.history
    mine = [each for each in history.forecasts if name_of(each.metric) == plan.metric]
    outcomes = [(each, outcome) for each in mine for outcome in each.outcomes]
    if not mine:
        yield Text(
            "No forecast has been made yet: it takes four measured models with different numbers of labels.", "missing"
        )
        return
    track = plan.track_record
    if not outcomes or track.coverage is None or track.median_error is None:
        yield Text(f"{plural(len(mine), 'forecast')} so far, and no model has been measured since.", "missing")
        return
    unit = "" if plan.less_is_better else " points"
    yield Text(
        f"{100 * track.coverage:.0f}% of {plural(track.outcomes, 'later measurement')} fell within what was foretold "
        f"(80% are meant to); half of the forecasts were off by less than {track.median_error:.2g}{unit}."
    )
    written = figure_of(plan)
    rows = [
        (
            f"{each.version} ({number(each.labels)})",
            f"{outcome.version} ({number(outcome.labels)})",
            f"{written(outcome.p50)} ({written(outcome.p10)} to {written(outcome.p90)})",
            written(outcome.measured),
            "yes" if outcome.inside else "no",
        )
        for each, outcome in reversed(outcomes)
    ]
    yield Table(
        "Forecasts and what came, newest first",
        ("made at (labels)", "measured at (labels)", "foretold", "came", "within"),
        rows[:OUTCOMES_SHOWN],
        codes=frozenset({0, 1, 4}),
        folded=6,
    )
    if len(rows) > OUTCOMES_SHOWN:
        yield Text(f"{len(rows) - OUTCOMES_SHOWN} earlier ones: dalcli plan history.", "note")
