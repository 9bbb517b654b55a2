"""The verdict: go on, or why not; and the command to run next."""

from __future__ import annotations

from dataclasses import dataclass

from dalcli.config.words import counted, plural
from dalcli.planning.figures import amount, chance_text, figure
from dalcli.planning.outlook import Outlook
from dalcli.planning.result import Decision, NextBatch, Proof, Verdict
from dalcli.planning.situation import Situation
from dalcli.planning.trajectory import CurvePoint

SMALL_CHANCE = 0.05
"""Where the target is reached less often than this, going on is called infeasible."""
_LIKELY = 0.5


@dataclass(frozen=True)
class Limit:
    """What the question allows to be spent: labels on top of those there are, in words."""

    labels: int
    words: str


@dataclass(frozen=True)
class Evidence:
    """What there is to judge by; None: there is no such thing."""

    situation: Situation
    newest: CurvePoint | None = None
    target: float | None = None
    outlook: Outlook | None = None
    refused: str | None = None
    proof: Proof | None = None
    decision: Decision | None = None
    limit: Limit | None = None


def verdict(seen: Evidence) -> tuple[Verdict, str]:
    """The verdict and its reason, a sentence."""
    if seen.newest is None:
        return _nothing_measured(seen.situation)
    if seen.limit is not None and not seen.limit.labels and not (seen.proof is not None and seen.proof.proven):
        return "infeasible", _nothing_comes(seen, seen.limit)
    if seen.proof is not None and seen.target is not None:
        found = _by_measurement(seen, seen.proof, seen.target)
        if found is not None:
            return found
    if seen.outlook is None:
        return "insufficient-data", seen.refused or "there is no forecast"
    if not seen.situation.left and not _unseen(seen.situation):
        return "infeasible", "every training sample is answered: the pool has no label left to buy"
    if seen.target is not None:
        return _by_forecast(seen, seen.outlook)
    if not seen.situation.left:
        return "continue", f"{_unseen(seen.situation)}: the last of the pool"
    if seen.decision is not None and seen.decision.best == 0:
        return "infeasible", "no further batch is worth its price (costs.value_per_point)"
    return "continue", "no target is set: name one with --target, or plan.target in dalcli.yaml"


def _nothing_measured(situation: Situation) -> tuple[Verdict, str]:
    if not situation.states["evaluation"]["labeled"]:
        return "need-evaluation-labels", "there are no evaluation labels, so nothing can be measured"
    if situation.model is None:
        return "insufficient-data", "there is no model yet"
    if situation.measured and not situation.is_measured:
        return "insufficient-data", "the newest model is not measured with today's classes and evaluation labels"
    if situation.measured:
        return "need-evaluation-labels", f"no evaluation label tells the {situation.metric.label}"
    return "insufficient-data", "no model version has been measured yet"


def _nothing_comes(seen: Evidence, limit: Limit) -> str:
    """What was asked about brings no label: what is known is all there will be."""
    if seen.outlook is None or seen.target is None:
        return f"{limit.words} no label comes"
    shown = figure(seen.situation.metric, seen.situation.metric.shown(seen.target))
    reached = float((seen.outlook.forecast.column(seen.outlook.owned) >= seen.target).mean())
    return f"{limit.words} no label comes; the chance that {shown} is reached already is {chance_text(reached)}"


def _unseen(situation: Situation) -> str:
    """Labels that no measurement has seen; empty where there are none."""
    if situation.newer_labels:
        return f"{counted(situation.newer_labels, 'label is', 'labels are')} not trained on yet"
    return "" if situation.is_measured else "the newest model is not measured yet"


def _by_measurement(seen: Evidence, proof: Proof, target: float) -> tuple[Verdict, str] | None:
    assert seen.newest is not None
    metric = seen.situation.metric
    shown = figure(metric, metric.shown(target))
    if proof.proven:
        return "target-reached", (
            f"{metric.label} {figure(metric, seen.newest.value)} on {counted(seen.newest.evaluated, 'example')} proves "
            f"{'at most' if metric.less_is_better else 'at least'} {shown}"
        )
    if not seen.situation.measures(target):
        return None
    now = figure(metric, seen.newest.value)
    beyond = "at" if now == shown else "below" if metric.less_is_better else "above"
    unproven = f"{metric.label} {now} is {beyond} {shown}, but not proven to be"
    if proof.training and proof.evaluation is not None:
        then = f", then {plural(proof.evaluation, 'more evaluation label')}" if proof.evaluation else ""
        return (
            "continue",
            f"{unproven}: the cheapest proof is a better model, with {plural(proof.training, 'more label')}{then}",
        )
    if proof.evaluation_now is not None:
        out = seen.situation.states["evaluation"]["in flight"]
        some = f"; {out:,} are out" if out else ""
        return "need-evaluation-labels", (
            f"{unproven}: about {plural(proof.evaluation_now, 'more evaluation label')} would do{some}"
        )
    return "need-evaluation-labels" if seen.outlook is None else "continue", (
        f"{metric.label} is at the target, too near to it for a proof"
    )


def _by_forecast(seen: Evidence, outlook: Outlook) -> tuple[Verdict, str]:
    metric, target = seen.situation.metric, seen.target
    assert target is not None
    shown = figure(metric, metric.shown(target))
    more = seen.situation.left if seen.limit is None else min(seen.limit.labels, seen.situation.left)
    within = seen.limit.words if seen.limit is not None else _within(more)
    chance = float((outlook.forecast.column(outlook.owned + more) >= target).mean())
    if chance < SMALL_CHANCE:
        return "infeasible", f"the chance to reach {shown} {within} is {chance_text(chance)}"
    reached = float((outlook.forecast.column(outlook.coming) >= target).mean())
    # Where the target is likely reached already, stopping costs next to nothing, and what is missing is the proof.
    if seen.decision is not None and seen.decision.best == 0 and reached < _LIKELY:
        currency = seen.situation.tariff.currency
        to_the_end = seen.decision.option.to_the_end or 0.0
        batches = f"batches of {seen.decision.batch:,}"
        return "infeasible", (
            f"going on in {batches} until {shown} or the pool's end is expected to cost "
            f"{amount(to_the_end, currency)}, stopping {amount(seen.decision.stop, currency)}, what missing the target "
            "costs included; giving up on the way does not pay either"
        )
    return "continue", f"the chance to reach {shown} {within} is {chance_text(chance)}"


def _within(more: int) -> str:
    if not more:
        return "with the labels there are, the last of the pool,"
    return f"within the {plural(more, 'label')} that the pool can give"


def next_step(
    situation: Situation, found: Verdict, batch: NextBatch | None, proof: Proof | None, limit: Limit | None = None
) -> str:
    """The command to run next; what is under way comes first, the oldest of it."""
    out = {batch.purpose: batch for batch in reversed(situation.open_batches)}
    evaluation, training = situation.states["evaluation"], situation.states["training"]
    if found == "target-reached":
        return "nothing: the target is reached"
    if not sum(training.values()):
        return "dalcli pool add FOLDER"
    if found == "need-evaluation-labels":
        if "evaluation" in out:
            return f"dalcli ingest-labels FILE   (evaluation batch {out['evaluation'].batch_id} is out)"
        wanted = 100 if proof is None or not proof.evaluation_now else proof.evaluation_now
        if not evaluation["unlabeled"]:
            return "dalcli pool add --test FOLDER_OR_CSV   (the evaluation reserve is empty)"
        return f"dalcli query --purpose evaluation --budget {min(wanted, evaluation['unlabeled'])} > to_label.csv"
    if situation.newer_labels or (situation.model is None and training["labeled"]):
        return "dalcli train && dalcli evaluate"
    if situation.model is not None and evaluation["labeled"] and not situation.is_measured:
        return "dalcli evaluate"
    if "training" in out:
        return f"dalcli ingest-labels FILE   (batch {situation.open_batches[0].batch_id} is out)"
    if found == "infeasible":
        return f"nothing: {'more labels of this pool' if limit is None else 'so few more labels'} will not do"
    if not training["unlabeled"]:
        return "nothing: every training sample is answered"
    if batch is None and limit is not None:
        return f"nothing: {limit.words} no further batch comes"
    images = min(situation.batch_images if batch is None else batch.images, training["unlabeled"])
    return f"dalcli query --budget {images} > to_label.csv"
