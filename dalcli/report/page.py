"""From a report's values to a page: the verdict in a sentence, four figures, then the sections."""

from __future__ import annotations

from typing import Literal

from dalcli.config.words import plural
from dalcli.planning.result import PlanResult, Verdict
from dalcli.report.blocks import Figure, Page
from dalcli.report.contents import Report
from dalcli.report.figures import day, figure_of, money, number, of_batch, sentence, spread, way_to_proof
from dalcli.report.sections.by_model import by_model
from dalcli.report.sections.classes import classes, confusion
from dalcli.report.sections.images import sheets
from dalcli.report.sections.method import annotators, diagnosis, made
from dalcli.report.sections.money import rounds, saved
from dalcli.report.sections.progress import ahead, curve, record

Tone = Literal["good", "go", "ask", "bad"]

_VERDICTS: dict[Verdict, tuple[Tone, str]] = {
    "continue": ("go", "Go on labeling"),
    "target-reached": ("good", "The target is reached"),
    "infeasible": ("bad", "More labels of this pool will not do"),
    "need-evaluation-labels": ("ask", "Evaluation labels are needed first"),
    "insufficient-data": ("ask", "Too early to tell"),
}


def page(report: Report) -> Page:
    """Every part, those that are not known included."""
    tone, verdict = _VERDICTS[report.plan.verdict]
    as_of = "Nothing has happened yet" if report.as_of is None else f"State of {day(report.as_of)}"
    return Page(
        title=f"Labeling report: {report.workspace}",
        workspace=report.workspace,
        dates=f"{as_of}; forecasts count from {report.today}",
        tone=tone,
        verdict=verdict,
        reason=sentence(report.plan.reason),
        command=None if report.plan.next_step.startswith("nothing") else report.plan.next_step,
        figures=_figures(report),
        sections=(
            curve(report),
            ahead(report),
            rounds(report),
            saved(report),
            by_model(report),
            record(report),
            classes(report),
            confusion(report),
            *sheets(report),
            annotators(report),
            diagnosis(report),
            made(report),
        ),
    )


def _figures(report: Report) -> list[Figure]:
    plan = report.plan
    return [_now(plan), _labels(report), _spent(plan), _to_come(plan)]


def _now(plan: PlanResult) -> Figure:
    s, written = plan.standing, figure_of(plan)
    name = f"{plan.metric_label.capitalize()} now"
    if s.value is None or s.interval_low is None or s.interval_high is None:
        return Figure(name, "not measured", "no model has been held against evaluation labels")
    target = "" if plan.target is None else f"; target {written(plan.target)}"
    interval = f"{written(s.interval_low)} to {written(s.interval_high)}"
    return Figure(name, written(s.value), f"{interval}, on {plural(s.evaluated, 'image')}{target}")


def _labels(report: Report) -> Figure:
    s = report.plan.standing
    out = f", {number(s.in_flight)} on their way" if s.in_flight else ""
    standing = sum(each.run.standing for each in report.by_model if each.run.withdrawn_at is None)
    out += f"; {number(standing)} more by a model" if standing else ""
    return Figure("Labels", number(s.labels_now), f"and {number(s.evaluation_labels)} for evaluation{out}")


def _spent(plan: PlanResult) -> Figure:
    spent = plan.standing.spent
    if spent.money is None:
        return Figure("Spent", "not known", f"{plural(spent.votes, 'answer')}; no price is set")
    rounds_text = plural(spent.rounds, "round")
    return Figure("Spent", money(spent.money, spent.currency), f"{plural(spent.votes, 'answer')} in {rounds_text}")


def _to_come(plan: PlanResult) -> Figure:
    to, currency = plan.to_target, plan.standing.spent.currency
    if plan.verdict == "target-reached":
        return Figure("To come", "nothing", "the target is proven")
    if plan.proof is not None and plan.proof.training is not None and plan.at_target:
        return Figure("To prove the target", way_to_proof(plan), "the cheapest way that is expected")
    if to is not None and to.labels.p50 is not None:
        cost = "" if to.money.p50 is None else f", {money(to.money.p50, currency)}"
        date = "" if to.date.p50 is None else f", until {to.date.p50}"
        return Figure("To the target", plural(round(to.labels.p50), "label"), f"as likely as not{cost}{date}")
    if plan.next_batch is not None and plan.next_batch.labels:
        gain = plan.next_batch.gain
        sign, unit = ("−", "") if plan.less_is_better else ("+", " points")
        detail = "the batch that is proposed"
        if gain is not None:
            detail = f"{spread(gain, lambda v: f'{sign}{v:.2g}')}{unit} expected"
        return Figure("Next batch", of_batch(plan.next_batch), detail)
    if plan.verdict == "infeasible":
        return Figure("To come", "no more labels", "the target is out of reach, or not worth its price")
    return Figure("To come", "not known", "there is no forecast yet")
