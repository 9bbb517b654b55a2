"""From a situation and its forecast to everything that ``plan`` tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dalcli.config.words import counted, plural
from dalcli.evaluation.intervals import wilson
from dalcli.forecasting.cautions import FAR
from dalcli.forecasting.forecast import Forecast
from dalcli.planning import ledger
from dalcli.planning.basis import Points
from dalcli.planning.figures import figure
from dalcli.planning.metrics import Metric
from dalcli.planning.next_batch import propose
from dalcli.planning.outlook import Outlook, shown_range
from dalcli.planning.proving import proof, proven_value
from dalcli.planning.result import (
    Basis,
    ClassShortfall,
    Decision,
    PlanResult,
    Proof,
    Question,
    Standing,
    TrackRecord,
)
from dalcli.planning.situation import Situation
from dalcli.planning.trajectory import CurvePoint
from dalcli.planning.verdict import Evidence, Limit, next_step, verdict

_LUCK = 0.5
_NOTED = 0.01
"""A measurement so far beside the middle future, or outside of its interval at that level, is told of."""
_NAMED = 5
"""Classes that a note names."""
_DIGITS = 12
"""Of a target, which has been turned into a value and back."""


@dataclass(frozen=True)
class Made:
    """A forecast or the reason for none, and what it is made from."""

    points: Points
    forecast: Forecast | None
    refused: str | None


def answer(
    situation: Situation,
    question: Question,
    target: float | None,
    limit: Limit | None,
    made: Made,
    outlook: Outlook | None,
    decision: Decision | None,
    level: float,
) -> PlanResult:
    """Put all of it together; ``target`` as a value in [0, 1], ``level`` of intervals and proofs."""
    metric = situation.metric
    newest = situation.curve.points[-1] if situation.curve.points else None
    found_proof = None
    if newest is not None and target is not None:
        evaluation = situation.states["evaluation"]
        out, left = evaluation["in flight"], evaluation["unlabeled"] + evaluation["in flight"]
        found_proof = proof(metric, newest.measured, target, level, outlook, out, left)
    evidence = Evidence(
        situation=situation,
        newest=newest,
        target=target,
        outlook=outlook,
        refused=made.refused,
        proof=found_proof,
        decision=decision,
        limit=limit,
    )
    found, reason = verdict(evidence)
    batch = None
    if found not in {"target-reached", "infeasible"}:
        proving = target is not None and situation.measures(target)
        batch = propose(situation, outlook, decision, limit, found_proof if proving else None)
    return PlanResult(
        question=question,
        metric=metric.name,
        metric_label=metric.label,
        less_is_better=metric.less_is_better,
        target=None if target is None else round(metric.shown(target), _DIGITS),
        verdict=found,
        reason=reason,
        next_step=next_step(situation, found, batch, found_proof, limit),
        standing=_standing(situation, newest, level),
        curve=situation.curve.points,
        basis=_basis(made),
        band=() if outlook is None else outlook.band(),
        ceiling=None if outlook is None else shown_range(metric, outlook.forecast.ceiling),
        to_target=None if outlook is None else outlook.to_target(),
        answer=None if outlook is None or limit is None else outlook.purchase(min(limit.labels, situation.left)),
        budgets=() if outlook is None else outlook.budgets(),
        next_batch=batch,
        decision=decision,
        proof=found_proof,
        classes=_shortfalls(situation, target, level),
        gain_over_random=situation.gain,
        track_record=_track_record(situation),
        notes=tuple(_notes(situation, limit, outlook, found_proof)),
    )


def _standing(situation: Situation, newest: CurvePoint | None, level: float) -> Standing:
    metric, training = situation.metric, situation.states["training"]
    evaluation = situation.states["evaluation"]
    return Standing(
        version=None if newest is None else newest.version,
        value=None if newest is None else newest.value,
        interval_low=None if newest is None else newest.low,
        interval_high=None if newest is None else newest.high,
        proven=None if newest is None else metric.shown(proven_value(newest.measured, level)),
        level=level,
        evaluated=0 if newest is None else _evaluated(metric, newest),
        evaluation_labels=evaluation["labeled"],
        evaluation_left=evaluation["unlabeled"] + evaluation["in flight"],
        labels=0 if newest is None else newest.labels,
        labels_now=situation.owned,
        in_flight=training["in flight"],
        left=situation.left,
        under_way=situation.under_way,
        usable=situation.usable,
        disputed=situation.disputed,
        spent=situation.spent,
    )


def _evaluated(metric: Metric, newest: CurvePoint) -> int:
    """Examples that tell: of one class where it is about one class."""
    return newest.measured.trials if metric.position is not None else newest.measured.examples


def _basis(made: Made) -> Basis:
    cautions = made.points.notes + (() if made.forecast is None else made.forecast.cautions)
    return Basis(
        kind=made.points.kind if made.points.sizes else None,
        points=made.points.sizes,
        refused=made.refused,
        cautions=cautions,
        laws={} if made.forecast is None else {name: float(each) for name, each in made.forecast.families.items()},
    )


def _shortfalls(situation: Situation, target: float | None, level: float) -> tuple[ClassShortfall, ...]:
    """Classes whose recall lies below the target's, worst first; surely below the mean where there is none."""
    if not situation.curve.points:
        return ()
    report = next(v.report for v in situation.measured if v.version == situation.curve.points[-1].version)
    # By position: what a class is called today, it may not have been called when it was measured.
    everyone = zip(situation.classes, report.get("classes", ()), situation.own_class, strict=False)
    known = [(name, entry) for name, entry, own in everyone if own and entry["support"] > 0]
    if not known:
        return ()
    recalls = [entry["correct"] / entry["support"] for _, entry in known]
    has_target = target is not None and not situation.metric.less_is_better
    wanted = target if target is not None and has_target else float(np.mean(recalls))
    found = []
    for (name, entry), recall in zip(known, recalls, strict=True):
        interval = wilson(entry["correct"], entry["support"], level)
        # Half of all classes lie below their mean: only those that surely do tell something.
        if recall < wanted and (has_target or interval.high < wanted):
            labels = situation.class_labels.get(name, 0)
            found.append(
                ClassShortfall(
                    name=name,
                    recall=recall,
                    low=interval.low,
                    high=interval.high,
                    support=entry["support"],
                    labels=labels,
                    below=wanted - recall,
                )
            )
    return tuple(sorted(found, key=lambda each: (-each.below, each.name)))


def _track_record(situation: Situation) -> TrackRecord:
    # Not the one at the newest version: nothing can have come of it, and a second run would count it.
    earlier = {point.version for point in situation.curve.points[:-1]}
    scored = [
        ledger.scored(each, situation.curve, situation.metric)
        for each in situation.stored
        if each.metric == situation.metric.key and each.version in earlier
    ]
    return ledger.track_record(scored, situation.metric)


def _notes(situation: Situation, limit: Limit | None, outlook: Outlook | None, proven: Proof | None) -> Sequence[str]:
    """What a reader should know besides the numbers."""
    notes = []
    metric = situation.metric
    newest = situation.curve.points[-1] if situation.curve.points else None
    if limit is not None and outlook is not None and limit.labels > situation.left:
        most = plural(situation.left, "more label")
        notes.append(f"{limit.words}: the pool can give {most} only; that is what is answered")
    if newest is not None and situation.model is not None and situation.model.version != newest.version:
        notes.append(f"{situation.model.version} is newer than what was measured: dalcli evaluate")
    if newest is not None and outlook is not None:
        notes += _about_luck(newest, outlook)
    if outlook is not None and outlook.target is not None:
        notes += _about_target(situation, outlook, outlook.target)
    if proven is not None and not proven.proven and proven.evaluation:
        left = situation.states["evaluation"]["unlabeled"] + situation.states["evaluation"]["in flight"]
        if proven.evaluation > left:
            notes.append(
                f"the evaluation reserve has {left:,} more samples: more come with dalcli pool add --test FOLDER_OR_CSV"
            )
    if situation.gain is None and newest is not None:
        how = "dalcli evaluate --control tells" if situation.has_control else "dalcli query --control 0.1 tells in time"
        notes.append(f"what choosing gains over drawing at random is not known: {how}")
    if metric.name == "macro" and newest is not None:
        notes += _left_out(situation, newest)
    if metric.name == "macro" and proven is not None:
        notes.append("a proof of macro recall is approximate: as of a share of as many examples as are as sure")
    return notes


def _about_luck(newest: CurvePoint, outlook: Outlook) -> list[str]:
    """The middle future begins beside the newest measurement: what is foretold seems to contradict it."""
    measured, middle = newest.measured, float(np.median(outlook.forecast.today))
    interval = measured.interval(_LUCK)
    if interval.low <= middle <= interval.high and abs(middle - measured.value) < _NOTED:
        return []
    metric, beside = outlook.metric, measured.value > middle
    better = "better" if beside else "worse"
    return [
        f"the newest measurement is {better} than the curve through all of them says "
        f"({figure(metric, metric.shown(middle))}): a part of it is taken for chance, and gains count from there"
    ]


def _left_out(situation: Situation, newest: CurvePoint) -> list[str]:
    """Classes that macro recall says nothing of."""
    report = next(v.report for v in situation.measured if v.version == newest.version)
    everyone = zip(situation.classes, report["classes"], situation.own_class, strict=False)
    names = [name for name, entry, own in everyone if own and not entry["support"]]
    if not names:
        return []
    first = ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
    said, of = counted(len(names), "class has", "classes have"), "it" if len(names) == 1 else "them"
    return [f"{said} no evaluation example ({first}): neither the macro recall nor a proof says anything of {of}"]


def _about_target(situation: Situation, outlook: Outlook, target: float) -> list[str]:
    metric, notes = situation.metric, []
    shown = figure(metric, metric.shown(target))
    highest = float(np.quantile(outlook.forecast.ceiling, 0.9))
    needed = float(np.quantile(outlook.needed(), 0.5, method="higher"))
    today = int(outlook.forecast.sizes[0])
    if highest < target:
        lift = ["another network or pretrained weights (model.weights)", "larger images (data.image_size)"]
        if situation.disputed:
            lift.append(
                f"cleaner labels: annotators differ on {100 * situation.disputed:.0f}% of the images with several"
            )
        best = figure(metric, metric.shown(highest))
        notes.append(
            f"{shown} lies beyond the ceiling of this model ({best} at best); what may lift it: {'; '.join(lift)}"
        )
    elif FAR * today < needed < np.inf:
        notes.append(
            f"{shown} is likely beyond {FAR:g} times the {today:,} labels measured: read the "
            "range, not its middle; every further round narrows it"
        )
    return notes
