"""Does a promise still stand? Two checks, each of which can only take labels back, for good.

The evaluation labels of today, where the version was measured on them, are put to the same test with the same
threshold: a promise that could not be made today does not stand. That needs no correction for many looks: looking again
can only withdraw.

People's labels of images that a model had labeled, drawn at random for that (``query --auto-labeled``), speak for
themselves: the promise falls once the lower end of a confidence sequence for their error lies above what was promised.
That end holds at all numbers of labels at once (``dalcli/evaluation/intervals.py``): however often one looks, a promise
that is true falls by this check with a probability of at most 1 − confidence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dalcli.config.words import counted
from dalcli.errors import NotReadyError
from dalcli.evaluation.run import evaluate, measured_now
from dalcli.prediction.evidence import Judged, judged, refuted
from dalcli.prediction.guarantee import Promise, bound, capped
from dalcli.state import auto_checks, auto_labels, classes, versions
from dalcli.state.auto_labels import AutoRun
from dalcli.state.database import Connection
from dalcli.workspace.session import Session


@dataclass(frozen=True)
class Checked:
    """One run, after it was checked; ``withdrawn`` says why it does not stand, None: it does.

    Attributes:
        evaluation_labels: it was tested on; None: its version was not measured on those of today.
        bound: the error among its labels is at most this, by the evaluation labels.
        checked_by_people: its labels that people have checked, ``wrong`` of them.
    """

    annotator: str
    labels: int
    standing: int
    max_error: float
    confidence: float
    evaluation_labels: int | None
    bound: float | None
    checked_by_people: int
    wrong: int
    withdrawn: str | None


@dataclass(frozen=True)
class CheckResult:
    """All runs that stood before the check."""

    runs: tuple[Checked, ...]


def check(session: Session) -> CheckResult:
    """Measure the versions of all standing runs on the evaluation labels of now, and take back what fails.

    Raises:
        NotReadyError: there are no labels by a model.
    """
    with session.database.read() as connection:
        standing = auto_labels.standing(connection)
        there = {version.version for version in versions.history(connection)}
    if not standing:
        raise NotReadyError("no labels by a model stand", "make some: dalcli predict --auto --max-error 0.01")
    for run in standing:
        if run.version in there:
            evaluate(session, run.version)
    return check_stored(session)


def check_stored(session: Session) -> CheckResult:
    """The same by what is stored: for commands after which it may look different. Never imports torch."""
    with session.database.read() as connection:
        found = [_checked(connection, session, run) for run in auto_labels.standing(connection)]
    if any(each.withdrawn for each in found):
        with session.database.write() as connection:
            for run in auto_labels.standing(connection):
                checked = _checked(connection, session, run)
                if checked.withdrawn is not None:
                    auto_labels.withdraw(connection, run, checked.withdrawn)
    for each in found:
        if each.withdrawn is not None:
            labels = counted(each.standing, "label")
            session.feedback.warn(f"{labels} by {each.annotator} are withdrawn: {each.withdrawn}")
    return CheckResult(tuple(found))


def withdraw(session: Session) -> CheckResult:
    """Take back all labels by models, because somebody wants it.

    Raises:
        NotReadyError: there are none.
    """
    with session.database.write() as connection:
        standing = auto_labels.standing(connection)
        found = [_checked(connection, session, run, "asked for by predict --withdraw") for run in standing]
        for run in standing:
            auto_labels.withdraw(connection, run, "asked for by predict --withdraw")
    if not standing:
        raise NotReadyError("no labels by a model stand", "make some: dalcli predict --auto --max-error 0.01")
    return CheckResult(tuple(found))


def _checked(connection: Connection, session: Session, run: AutoRun, withdrawn: str | None = None) -> Checked:
    promise = run.promise
    checked, wrong = auto_checks.contradictions(connection, run)
    measured = _measured(connection, session, run)
    reason, error = withdrawn, None
    if measured is not None:
        said, error = _by_evaluation(connection, measured, promise)
        reason = reason or said
    reason = reason or refuted(checked, wrong, promise["max_error"], promise["confidence"])
    return Checked(
        annotator=run.annotator,
        labels=run.labels,
        standing=run.standing,
        max_error=promise["max_error"],
        confidence=promise["confidence"],
        evaluation_labels=None if measured is None else len(measured),
        bound=error,
        checked_by_people=checked,
        wrong=wrong,
        withdrawn=reason,
    )


def _measured(connection: Connection, session: Session, run: AutoRun) -> Judged | None:
    model = next((v for v in versions.history(connection) if v.version == run.version), None)
    found = None if model is None else measured_now(connection, session.config, model)
    return None if found is None or found.confidences is None else judged(found, run.version)


def _by_evaluation(
    connection: Connection, measured: Judged, promise: Mapping[str, Any]
) -> tuple[str | None, float | None]:
    """Why the promise could not be made today, if so; and the largest error among the accepted of any part."""
    test = Promise(promise["max_error"], 1 - promise["level"])
    counted_as, errors = classes.counted_as(connection), []
    for part in promise["parts"]:
        sure = measured.wrong & (capped(measured.confidence) >= np.float32(part["threshold"]))
        if part["class"] is not None:
            sure &= measured.predicted == counted_as[part["class"]]
        wrong, population, accepted = int(sure.sum()), promise["population"], part["accepted"]
        errors.append(bound(wrong, len(measured), population, accepted, test.miss))
        if not test.holds(wrong, len(measured), population, accepted):
            return (
                f"{wrong} of {len(measured)} evaluation labels contradict predictions as sure as these: an error of "
                f"{100 * errors[-1]:.2g}% cannot be ruled out, and {100 * test.max_error:g}% were promised"
            ), max(errors)
    return None, max(errors, default=None)
