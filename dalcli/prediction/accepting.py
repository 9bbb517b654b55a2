"""``predict --auto``: predictions that may count as labels, with a promise; recorded as votes of the model."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np

from dalcli.config.words import counted
from dalcli.errors import DalcliError, NotReadyError
from dalcli.evaluation.run import evaluate
from dalcli.prediction import evidence as evidences
from dalcli.prediction import pool
from dalcli.prediction.evidence import Case
from dalcli.prediction.guarantee import Evidence, Promise, Prospect, Step, bound, capped, last_passed, prospects
from dalcli.prediction.promise import AutoRequest, AutoResult, Part, kept
from dalcli.prediction.version import Predictor, predictor
from dalcli.state import auto_checks, auto_labels, classes, evaluations, ledger
from dalcli.state.database import Connection
from dalcli.workspace.session import Session

PROSPECTS = 3


def accept(session: Session, request: AutoRequest) -> AutoResult:
    """Label as many images as the promise allows.

    Raises:
        NotReadyError: no model, no evaluation labels, none that were drawn at random, or too few for the promise.
        LockedError: something has to be computed, and another process is computing.
    """
    found = predictor(session, request.version)
    evaluate(session, found.model.version)
    with session.database.read() as connection:
        evidences.require_uniform(connection, request.trust_test_set)
        _require_unrefuted(connection, found.model.version, request)
        ids = auto_labels.candidates(connection).sample_ids
    predictions = pool.of_pool(session, found, ids, wait=request.wait)  # which may set images aside
    with session.database.read() as connection:
        case = evidences.case(
            connection, session.config, found, lambda now: _again(predictions, now), request.trust_test_set
        )
        measured = len(evaluations.newest_by_version(connection))
        before = auto_labels.tries(connection)
    parts = _parts(case, found, request, _miss(request, case, measured))
    result = _result(session, found, case, request, parts, before, measured)
    if request.dry_run:
        if not result.accepted:
            raise _nothing(result)
        return result
    return _recorded(session, found, case, request, result)


def _require_unrefuted(connection: Connection, version: str, request: AutoRequest) -> None:
    """What people found wrong with a version's labels is not forgotten with the run that it ended."""
    found = auto_checks.contradictions_of(connection, version, request.max_error)
    said = evidences.refuted(*found, request.max_error, request.confidence)
    if said is not None:
        raise NotReadyError(
            f"{version} cannot promise that any more: {said}", "train a new version: dalcli train; or allow more errors"
        )


def _again(predictions: pool.PoolPredictions, now: Sequence[str]) -> Any:
    """Of the images that are still there, in their order."""
    if list(now) == list(predictions.sample_ids):
        return predictions.said
    place = {sample_id: row for row, sample_id in enumerate(predictions.sample_ids)}
    if any(sample_id not in place for sample_id in now):
        raise DalcliError("images were added while the pool was being predicted", "try again")
    rows = np.array([place[sample_id] for sample_id in now], np.int64)
    said = predictions.said
    return type(said)(said.classes[rows], said.confidence[rows], said.raw[rows])


def _miss(request: AutoRequest, case: Case, measured: int) -> float:
    """The chance of being wrong that is left for each test: all of them together use 1 − confidence."""
    tests = request.tries * (max(1, len(case.classes)) if request.per_class else 1)
    if request.version is not None:
        tests *= max(1, measured)
    return (1 - request.confidence) / tests


def _parts(case: Case, found: Predictor, request: AutoRequest, miss: float) -> list[Part]:
    promise = Promise(request.max_error, miss)
    return [
        part_of(None if label is None else found.names[label], evidence, promise)
        for label, evidence in evidences.parts(case, request.per_class)
    ]


def part_of(name: str | None, evidence: Evidence, promise: Promise) -> Part:
    """What is accepted on this evidence, and what more would take."""
    step: Step | None = last_passed(evidence.tested(promise))
    more: Prospect | None = next(islice(prospects(evidence, promise), 1), None)
    return Part(
        name=name,
        threshold=None if step is None else step.threshold,
        accepted=0 if step is None else step.accepted,
        candidates=len(evidence.pool),
        wrong=0 if step is None else step.wrong,
        bound=None
        if step is None
        else bound(step.wrong, evidence.labels, evidence.population, step.accepted, promise.miss),
        more_labels=None if more is None else more.labels - evidence.labels,
        then=None if more is None else more.accepted,
    )


def _result(
    session: Session,
    found: Predictor,
    case: Case,
    request: AutoRequest,
    parts: Sequence[Part],
    tries: int,
    measured: int,
) -> AutoResult:
    labels = [label for label, _ in _taken(case, found, parts)]
    counts = {found.names[label]: labels.count(label) for label in sorted(set(labels))}
    accepted = sum(part.accepted for part in parts)
    return AutoResult(
        annotator=f"{auto_labels.PREFIX}{found.model.version}",
        version=found.model.version,
        max_error=request.max_error,
        confidence=request.confidence,
        level=1 - _miss(request, case, measured),
        per_class=request.per_class,
        evaluation_labels=len(case.judged),
        evaluation_left=case.left,
        unusable=case.unusable,
        chosen=case.candidates.chosen,
        parts=tuple(parts),
        accepted=accepted,
        left=int(case.readable.sum()) - accepted,
        classes=counts,
        tries=tries,
        recorded=False,
    )


def _taken(case: Case, found: Predictor, parts: Sequence[Part]) -> Iterator[tuple[int, int]]:
    """(class, row) of every accepted image."""
    thresholds = {part.name: part.threshold for part in parts if part.threshold is not None}
    sure, first = capped(case.said.raw), case.said.classes[:, 0]
    for row in np.flatnonzero(case.readable).tolist():
        label = int(first[row])
        threshold = thresholds.get(found.names[label], thresholds.get(None))
        if threshold is not None and sure[row] >= np.float32(threshold):
            yield label, row


def _recorded(session: Session, found: Predictor, case: Case, request: AutoRequest, result: AutoResult) -> AutoResult:
    """The same, once it counts; or why it cannot. One transaction for all of it."""
    options = dataclasses.asdict(request) | {"wait": None, "dry_run": None}
    promise = kept(result, request, case, found)
    votes = [
        (case.candidates.keys[row], label, float(case.said.confidence[row, 0]))
        for label, row in _taken(case, found, result.parts)
    ]
    with session.database.write() as connection:
        labels = ledger.labels(connection, "evaluation")
        digest = ledger.digest(labels, classes.meanings(connection))
        tries = auto_labels.tried(connection, found.model.key, digest, options)
        now = auto_labels.candidates(connection)
        same = (list(now.keys), now.chosen) == (list(case.candidates.keys), case.candidates.chosen)
        standing = [run for run in auto_labels.standing(connection) if run.annotator == result.annotator]
        known = any(dict(run.promise) == promise and run.labels == len(votes) for run in standing)
        if votes and same and not known:
            auto_labels.record(connection, found.model.key, found.model.version, promise, votes)
    result = dataclasses.replace(result, tries=tries, recorded=bool(votes) and same)
    _warn_of_tries(session, request, result)
    if not votes:
        raise _nothing(result)
    if not same:
        raise DalcliError("labels came in while the promise was being worked out; nothing was recorded", "try again")
    if known:
        session.feedback.note(f"up to date: {result.annotator} has labeled these images with this promise before")
    return result


def _warn_of_tries(session: Session, request: AutoRequest, result: AutoResult) -> None:
    """Also of one that nothing comes of: whoever tries until something passes must hear of it."""
    if result.tries > request.tries:
        together = max(0.0, 1 - result.tries * (1 - request.confidence))
        session.feedback.warn(
            f"{result.tries} different tries were made by now: that every promise among them holds is "
            f"{100 * together:.0f}% sure at least (--tries N plans for N)"
        )


def _nothing(result: AutoResult) -> NotReadyError:
    percent = f"{100 * result.max_error:g}%"
    labels = counted(result.evaluation_labels, "evaluation label")
    needs = [part.more_labels for part in result.parts if part.more_labels is not None]
    if not needs:
        return NotReadyError(
            f"no threshold has that guarantee ({percent}) with {labels}, and with as many errors among the surest "
            "predictions more of them would not help",
            "allow more: a larger --max-error; or train on more labels first",
        )
    more = min(needs)
    wanted = f"no threshold has that guarantee ({percent}) with {labels}: {more} more are needed, if the model errs as "
    wanted += "often as so far"
    if more <= result.evaluation_left:
        return NotReadyError(wanted, f"dalcli query --purpose evaluation --budget {more} > to_label.csv")
    return NotReadyError(
        f"{wanted}; the evaluation reserve has {result.evaluation_left} left",
        "a larger --max-error needs fewer; images that are added bring more, where evaluation.reserve is not 0",
    )
