"""What ``plan`` and ``plan history`` show."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from dalcli.cli.chart import chart, terminal_marks, terminal_width
from dalcli.cli.render_paired import gain as gain_over_random
from dalcli.cli.tables import facts, listing, percent, text
from dalcli.config.words import counted, plural
from dalcli.planning.figures import amount, chance_text, share
from dalcli.planning.metrics import name_of

if TYPE_CHECKING:
    from rich.console import RenderableType

    from dalcli.planning.history import HistoryResult
    from dalcli.planning.result import Decision, PlanResult, Purchase, Range, TrackRecord

CLASSES_SHOWN = 5
_WITH_DATE = 74
"""Columns of a terminal from which on a table of budgets shows dates; the one of the target always does."""
ROUNDS_SHOWN = 4.0
"""The curve is drawn to so many times today's labels, unless the answer lies beyond."""


def plan(result: PlanResult) -> str:
    """Verdict and standing first, then the curve, the answer, what to do next."""
    parts: list[RenderableType] = [facts(_head(result))]
    if result.curve or result.band:
        parts += ["", _drawn(result)]
    if result.to_target is not None and result.to_target.labels.p10 is not None and result.verdict != "target-reached":
        parts += ["", *_target_table(result)]
    if result.answer is not None:
        parts += ["", _asked(result), "", _purchases(result, [result.answer])]
    if result.budgets and result.answer is None:
        parts += ["", "what more labels buy", "", _purchases(result, result.budgets)]
    if result.classes:
        parts += ["", *_classes(result)]
    parts += ["", facts(_tail(result))]
    if result.basis.cautions or result.notes:
        parts += ["", *(f"note: {each}" for each in (*result.basis.cautions, *result.notes))]
    parts += ["", f"next: {result.next_step}"]
    return text(*parts)


def _head(result: PlanResult) -> Iterator[tuple[str, object]]:
    yield "verdict", f"{result.verdict}: {result.reason}"
    s = result.standing
    if s.version is None or s.value is None or s.interval_low is None or s.interval_high is None:
        yield "now", f"{counted(s.labels_now, 'label')}, nothing measured"
    else:
        figures = (
            f"{_figure(result, s.value)} ({_figure(result, s.interval_low)} to {_figure(result, s.interval_high)})"
        )
        yield "now", f"{result.metric_label} {figures}: {s.version}, {counted(s.labels, 'label')}"
        bound = "at most" if result.less_is_better else "at least"
        on = counted(s.evaluated, "evaluation label")
        if s.proven is not None:
            yield "proven", f"{bound} {_figure(result, s.proven)}, at {100 * s.level:.4g}%, on {on}"
    if result.basis.refused is not None and result.verdict != "insufficient-data":
        yield "forecast", result.basis.refused


def _drawn(result: PlanResult) -> str:
    """The measured points and the band, as far ahead as the answer is."""
    points = [(float(point.labels), point.value) for point in result.curve]
    end = _end(result)
    band = [(float(b.labels), b.p10, b.p50, b.p90) for b in result.band if b.labels <= end]
    marks, width = terminal_marks(), terminal_width()
    bounds = (0.0, math.inf) if result.less_is_better else (0.0, 1.0)
    drawn = chart(points, band, result.target, lambda value: _figure(result, value), width, marks, bounds)
    legend = [f"{result.metric_label} over labels (logarithmic)", f"{marks.point} measured"]
    legend += [f"{marks.middle} forecast", f"{marks.band} 80 in 100 futures"] if band else []
    legend += [f"{marks.target} target"] if result.target is not None else []
    return f"{drawn}\n{_filled(legend, width)}"


def _filled(parts: Sequence[str], width: int) -> str:
    """As many parts a line as fit."""
    lines = [parts[0]]
    for part in parts[1:]:
        if len(lines[-1]) + 3 + len(part) <= width:
            lines[-1] += f"   {part}"
        else:
            lines.append(part)
    return "\n".join(lines)


def _end(result: PlanResult) -> float:
    today = max((point.labels for point in result.curve), default=1)
    ends = [ROUNDS_SHOWN * today]
    if result.to_target is not None:
        found = [n for n in vars(result.to_target.labels).values() if n is not None]
        ends += [1.1 * (result.standing.labels_now + n) for n in found[:2]]
    if result.answer is not None:
        ends.append(1.1 * (result.standing.labels_now + result.answer.labels))
    return max(ends)


def _target_table(result: PlanResult) -> list[RenderableType]:
    to = result.to_target
    assert to is not None
    currency = result.standing.spent.currency or "money"
    chance = f"the chance to get there within the pool: {chance_text(to.chance)}"
    title = f"what {_figure(result, to.target)} takes, in batches of {_number(to.batch)} ({chance})"
    rows: list[list[object]] = [["more labels", *(_number(n) for n in _three(to.labels))]]
    if to.money.p10 is not None:
        rows.append([currency, *(_money(n) for n in _three(to.money))])
    if to.days.p10 is not None:
        rows.append(["working days", *(None if n is None else f"{math.ceil(n - 1e-9):,}" for n in _three(to.days))])
        rows.append(["date", *_three(to.date)])
    table = listing(("", "10 in 100", "50 in 100", "90 in 100"), [[_beyond(cell) for cell in row] for row in rows])
    return [title, "", table]


def _asked(result: PlanResult) -> str:
    return {"budget": "what this budget buys", "money": "what this money buys"}.get(
        result.question, "what comes in by then"
    )


def _purchases(result: PlanResult, purchases: Sequence[Purchase]) -> RenderableType:
    header = ["more labels", "p10", "p50", "p90"]
    has = {name: any(getattr(p, name) is not None for p in purchases) for name in ("reach", "money", "date")}
    has["date"] &= terminal_width() >= _WITH_DATE
    header += [f"reach {_figure(result, result.target)}"] if has["reach"] and result.target is not None else []
    header += [result.standing.spent.currency or "money"] if has["money"] else []
    header += ["date"] if has["date"] else []
    rows = []
    for p in purchases:
        row: list[object] = [_number(p.labels), *(_figure(result, value) for value in _three(p.value))]
        row += [chance_text(p.reach)] if has["reach"] and p.reach is not None else []
        row += [_money(p.money)] if has["money"] else []
        row += [p.date] if has["date"] else []
        rows.append(row)
    return listing(header, rows)


def _classes(result: PlanResult) -> list[RenderableType]:
    wanted = "classes with recall below the mean of all"
    if result.target is not None and not result.less_is_better:
        wanted = f"classes with recall below {share(result.target)}"
    shown = result.classes[:CLASSES_SHOWN]
    rows = [(c.name, percent(c.recall), f"{percent(c.low)} to {percent(c.high)}", c.support, c.labels) for c in shown]
    more = f": the worst {len(shown)} of {len(result.classes)}" if len(shown) < len(result.classes) else ""
    table = listing(("class", "recall", "interval", "evaluated", "labels"), rows)
    return [f"{wanted}{more}", "", table]


def _tail(result: PlanResult) -> Iterator[tuple[str, object]]:
    s = result.standing
    batch = result.next_batch
    if batch is not None:
        gain = "" if batch.gain is None else f", {_gain(result, batch.gain)}"
        money = "" if batch.money is None else f", {amount(batch.money, s.spent.currency)}"
        size = counted(batch.labels, "label")
        if batch.images != batch.labels:
            size = f"{counted(batch.images, 'image')}, {size}"
        yield "next batch", f"{size} by {batch.strategy}{gain}{money}; {batch.reason}"
    if result.to_target is not None and result.to_target.labels.p10 is None:
        chance = chance_text(result.to_target.chance)
        yield (
            "target",
            f"{_figure(result, result.to_target.target)}: the chance to get there within the pool is {chance}",
        )
    proving = result.proof is not None and bool(result.proof.training) and result.at_target
    if result.decision is not None and result.verdict != "target-reached" and not proving:
        yield "costs to expect", _decision(result, result.decision, s.spent.currency)
    if result.ceiling is not None:
        low, _, high = (_figure(result, value) for value in _three(result.ceiling))
        yield "ceiling", f"{low} to {high}, with any number of such labels"
    if result.proof is not None and result.target is not None and not result.proof.proven:
        yield "to prove it", _proof(result)
    if result.gain_over_random is not None:
        yield "gain over random", gain_over_random(result.gain_over_random)
    if s.spent.money is not None and s.spent.votes and (s.spent.money or s.spent.currency):
        money = amount(s.spent.money, s.spent.currency)
        yield "spent so far", f"{money}: {counted(s.spent.votes, 'vote')}, {counted(s.spent.rounds, 'round')}"
    usable = "" if s.usable == 1 else f", if {percent(s.usable)} of the images give a label as before"
    are = "is out: its round counts" if s.under_way == 1 else "are out: their rounds count"
    out = f"; {_number(s.under_way)} of them {are} as spent" if s.under_way else ""
    yield "in the pool", f"{plural(s.left, 'more label')}{usable}{out}"
    if s.disputed is not None:
        yield "label noise", f"annotators differ on {percent(s.disputed)} of the images that several labeled"
    if result.track_record.forecasts:
        yield "forecasts so far", _record(result.track_record, result.less_is_better)


def _decision(result: PlanResult, decision: Decision, currency: str) -> str:
    """Stopping, the next batch, going on: with the batch that is proposed."""
    option = decision.option
    when = "after what is out" if result.standing.under_way else "now"
    said = f"stopping {when}: {amount(decision.stop, currency)}"
    said += f"; one batch of {_number(option.labels)}: {amount(option.order, currency)}"
    if option.to_the_end is not None and option.go_on is not None and option.give_up_at is not None:
        said += f"; batches of it until the target or the pool's end: {amount(option.to_the_end, currency)}"
        if option.go_on < option.to_the_end - 0.005 * abs(option.to_the_end):
            said += f"; giving up at some {_number(option.give_up_at)} labels in all: {amount(option.go_on, currency)}"
    return f"{said} (with what missing the target costs, less what points are worth)"


def _proof(result: PlanResult) -> str:
    p = result.proof
    assert p is not None and result.target is not None
    target = _figure(result, result.target)
    now = (
        "not with this model, however many evaluation labels"
        if p.evaluation_now is None
        else f"about {plural(p.evaluation_now, 'more evaluation label')} with this model"
    )
    if p.training is None or p.evaluation is None:
        return f"{target}: {now}"
    if p.training == 0:
        return f"{target}: {now}; training on more labels first would not be cheaper"
    money = "" if p.money is None else f" ({amount(p.money, result.standing.spent.currency)})"
    then = plural(p.evaluation, "more evaluation label") if p.evaluation else "the evaluation labels there are"
    return f"{target}: {now}; cheapest: {plural(p.training, 'more label')}, then {then}{money}"


def _gain(result: PlanResult, gain: Range[float]) -> str:
    low, middle, high = _three(gain)
    if not high:
        return "nothing expected"
    unit = "" if result.less_is_better else " points"
    sign = "-" if result.less_is_better else "+"
    return f"{sign}{middle:.2g}{unit} expected ({sign}{low:.2g} to {sign}{high:.2g})"


def _record(record: TrackRecord, less_is_better: bool) -> str:
    if record.coverage is None or record.median_error is None:
        return f"{record.forecasts}, none of them with a measurement since"
    unit = "" if less_is_better else " points"
    return (
        f"{record.forecasts}: {100 * record.coverage:.0f}% of {counted(record.outcomes, 'measurement')} within p10 and "
        f"p90 (80% are meant to be), median error {record.median_error:.2g}{unit}"
    )


def history(result: HistoryResult) -> str:
    """One line for every outcome of every forecast."""
    if not result.forecasts:
        return text("no forecast yet: dalcli plan makes one once four versions were measured")
    less = {record.metric: record.less_is_better for record in result.metrics}
    rows = []
    for f in result.forecasts:
        name = name_of(f.metric)
        shown = (lambda value: f"{value:.3g}") if less[name] else percent
        head: tuple[object, ...] = (f"{f.version} ({f.labels})", name, f.points)
        for o in f.outcomes:
            came = f"{o.version} ({o.labels})"
            foretold = f"{shown(o.p10)} {shown(o.p50)} {shown(o.p90)}"
            rows.append((*head, came, foretold, shown(o.measured), "yes" if o.inside else "no"))
        if not f.outcomes:
            rows.append((*head, None, None, None, None))
    header = ("made at (labels)", "metric", "points", "came (labels)", "p10 p50 p90", "measured", "inside")
    lines = [(r.metric, _record(r.record, r.less_is_better)) for r in result.metrics]
    return text(listing(header, rows), "", facts(lines))


def _figure(result: PlanResult, value: float) -> str:
    return f"{value:.3g}" if result.less_is_better else share(value)


def _three(values: Range) -> tuple:  # type: ignore[type-arg]  # labels, money, days or dates
    return values.p10, values.p50, values.p90


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:,.0f}"


def _money(value: float | None) -> str | None:
    return None if value is None else amount(value, "")


def _beyond(cell: object) -> object:
    return "beyond pool" if cell is None else cell
