"""``plan --finish``: what it takes until every image of the pool has a label, by hand and by the model. Without torch.

What the model may label for a promised error is worked out as ``predict --auto`` does it, from what is stored; with
more evaluation labels it may be more. The cheapest way weighs them against labels by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from dalcli.config.words import counted
from dalcli.errors import BadInputError, NotReadyError
from dalcli.planning.money import rounds_for
from dalcli.planning.situation import Situation, read
from dalcli.prediction import evidence as evidences
from dalcli.prediction import pool
from dalcli.prediction.evidence import Case
from dalcli.prediction.guarantee import Promise, bound, last_passed, prospects
from dalcli.prediction.version import predictor
from dalcli.state import auto_checks, auto_labels
from dalcli.workspace.session import Session

WAYS = 12
"""With more evaluation labels, at most."""


@dataclass(frozen=True)
class FinishRequest:
    """What is asked: at most ``max_error`` of the labels by a model are wrong, and perhaps how far ``money`` goes."""

    max_error: float
    money: float | None = None
    trust_test_set: bool = False


@dataclass(frozen=True)
class Way:
    """One way to the end.

    Attributes:
        how: "by hand", "by the model now", or "after more evaluation labels".
        evaluation_labels: to be bought first.
        by_model, by_hand: images; ``left``: those that the money does not reach.
        rounds: batches of the usual size that all labels by people come in.
        money: for those labels and rounds; None where nobody has said what a label costs.
        bound: the error among the labels by the model is at most this; None: there are none, or labels are to come.
    """

    how: str
    evaluation_labels: int
    by_model: int
    by_hand: int
    left: int
    rounds: int
    money: float | None
    bound: float | None


@dataclass(frozen=True)
class FinishResult:
    """All ways that are worth a look, and the best of them.

    Attributes:
        images: of the pool that no person has labeled; ``standing`` of them have a label by a model by now, and
            ``in_flight`` more are out.
        evaluation_left: images of the evaluation reserve without a label: none of them is counted above.
        batch: the usual size of one, which makes the rounds that cost ``price_per_round`` each.
        best: the index of the way that leaves least, then costs least, then needs the fewest labels by hand.
    """

    version: str
    max_error: float
    confidence: float
    images: int
    in_flight: int
    standing: int
    evaluation_labels: int
    evaluation_left: int
    price_per_label: float | None
    price_per_round: float
    batch: int
    currency: str
    budget: float | None
    ways: tuple[Way, ...]
    best: int
    next_step: str


def finish(session: Session, request: FinishRequest) -> FinishResult:
    """Price every way.

    Raises:
        NotReadyError: no model, nothing predicted or measured, or evaluation labels that were not drawn at random.
        BadInputError: money was named, and nobody has said what a label costs.
    """
    situation = read(session, session.config.plan.metric, "dalcli.yaml: plan.metric")
    if request.money is not None and situation.tariff.per_label is None:
        raise BadInputError("--money: nobody has said what a label costs", "set costs.price_per_vote in dalcli.yaml")
    found = predictor(session, None)
    table = pool.required(session, found)
    with session.database.read() as connection:
        case = evidences.case(
            connection, session.config, found, lambda ids: pool.read(table, found, ids), request.trust_test_set
        )
        standing = sum(run.standing for run in auto_labels.standing(connection))
        checked = auto_checks.contradictions_of(connection, found.model.version, request.max_error)
    if not case.readable.any():
        raise NotReadyError("every image of the pool has been answered", "see: dalcli status")
    level = session.config.evaluation.confidence
    said = evidences.refuted(*checked, request.max_error, level)
    if said is not None:
        session.feedback.note(f"{found.model.version} may not label: {said}")
    promise = None if said is not None else Promise(request.max_error, 1 - level)
    ways = tuple(_ways(situation, case, request, promise))
    best = min(range(len(ways)), key=lambda place: _worth(ways[place]))
    return FinishResult(
        version=found.model.version,
        max_error=request.max_error,
        confidence=level,
        images=int(case.readable.sum()),
        in_flight=situation.states["training"]["in flight"],
        standing=standing,
        evaluation_labels=len(case.judged),
        evaluation_left=case.left,
        price_per_label=situation.tariff.per_label,
        price_per_round=situation.tariff.per_round,
        batch=situation.batch_images,
        currency=situation.tariff.currency,
        budget=request.money,
        ways=ways,
        best=best,
        next_step=_next_step(ways[best], request, situation, standing),
    )


def _ways(situation: Situation, case: Case, request: FinishRequest, promise: Promise | None) -> Iterator[Way]:
    """All by hand, and, where the version may ``promise`` anything, what it may label."""
    images, evidence = int(case.readable.sum()), case.evidence()
    yield _way("by hand", 0, 0, images, situation, request, None)
    if promise is None:
        return
    now = last_passed(evidence.tested(promise))
    if now is not None:
        error = bound(now.wrong, evidence.labels, evidence.population, now.accepted, promise.miss)
        yield _way("by the model now", 0, now.accepted, images - now.accepted, situation, request, error)
    most = evidence.labels + case.left
    for prospect in islice(prospects(evidence, promise, most), WAYS):
        more = prospect.labels - evidence.labels
        by_hand = images - prospect.accepted
        yield _way("after more evaluation labels", more, prospect.accepted, by_hand, situation, request, None)


def _way(
    how: str,
    evaluation: int,
    by_model: int,
    by_hand: int,
    situation: Situation,
    request: FinishRequest,
    error: float | None,
) -> Way:
    tariff, left = situation.tariff, 0
    if request.money is not None:
        bought = tariff.affordable(request.money, situation.batch_images)
        if bought < evaluation:  # it does not even come to the model's labels
            by_model, left = 0, by_model
        reached = max(0, min(by_hand, bought - evaluation))
        evaluation, by_hand, left = min(evaluation, bought), reached, left + by_hand - reached
    rounds = rounds_for(evaluation + by_hand, situation.batch_images, 0)
    return Way(
        how=how,
        evaluation_labels=evaluation,
        by_model=by_model,
        by_hand=by_hand,
        left=left,
        rounds=rounds,
        money=tariff.money(evaluation + by_hand, rounds),
        bound=error,
    )


def _worth(way: Way) -> tuple[float, float, int]:
    labels = way.evaluation_labels + way.by_hand
    return (way.left, labels if way.money is None else way.money, labels)


def _next_step(way: Way, request: FinishRequest, situation: Situation, standing: int) -> str:
    out = {batch.purpose: batch.batch_id for batch in situation.open_batches}
    wanted = "evaluation" if way.evaluation_labels else "training" if way.by_model <= standing and way.by_hand else None
    if wanted in out:
        return f"dalcli ingest-labels FILE   (batch {out[wanted]} is out)"
    if way.evaluation_labels:
        return f"dalcli query --purpose evaluation --budget {way.evaluation_labels} > to_label.csv"
    if way.by_model > standing:
        return f"dalcli predict --auto --max-error {request.max_error:g}"
    if not way.by_hand:
        return f"nothing: the money does not buy {counted(1, 'label')}"
    return f"dalcli query --budget {min(way.by_hand, situation.batch_images)} > to_label.csv"
