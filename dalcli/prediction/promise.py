"""What is asked of ``predict --auto``, what it answers, and what is kept of that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dalcli.prediction.evidence import Case
from dalcli.prediction.version import Predictor


@dataclass(frozen=True)
class AutoRequest:
    """What is asked.

    Attributes:
        max_error: α, the share of the accepted that may be wrong; ``confidence`` in that.
        per_class: α holds for every predicted class, all of them at once.
        tries: as one of so many planned tries.
        version: named: as if it had been picked among all that were measured; None: the newest.
        dry_run: say, and record nothing.
    """

    max_error: float
    confidence: float
    per_class: bool = False
    tries: int = 1
    version: str | None = None
    trust_test_set: bool = False
    dry_run: bool = False
    wait: float = 0.0


@dataclass(frozen=True)
class Part:
    """What is accepted of one predicted class (None: of all); ``threshold`` None: nothing.

    Attributes:
        wrong: evaluation images that the version is as sure of, and wrong about.
        bound: the error among the accepted is at most this.
        candidates: images that could be accepted.
        more_labels: evaluation labels on top of those there are with which more would be accepted, ``then`` so many, if
            the version errs as often as so far; None: a million would not do.
    """

    name: str | None
    threshold: float | None
    accepted: int
    candidates: int
    wrong: int
    bound: float | None
    more_labels: int | None
    then: int | None


@dataclass(frozen=True)
class AutoResult:
    """What was accepted, and what is promised of it.

    Attributes:
        level: at which each part was tested: 1 − (1 − confidence) / (tests that were planned for).
        evaluation_labels: that the promise rests on; ``unusable`` more were answered without a label to judge by, and
            ``evaluation_left`` can still be had.
        chosen: images that were taken out of the pool by choice, and may all have been easy.
        tries: how often anybody has tried here, this one included.
        recorded: whether the labels count by now.
        left: images of the pool that are left for people.
    """

    annotator: str
    version: str
    max_error: float
    confidence: float
    level: float
    per_class: bool
    evaluation_labels: int
    evaluation_left: int
    unusable: int
    chosen: int
    parts: tuple[Part, ...]
    accepted: int
    left: int
    classes: Mapping[str, int]
    tries: int
    recorded: bool


def kept(result: AutoResult, request: AutoRequest, case: Case, found: Predictor) -> dict[str, Any]:
    """What the database keeps of a promise, as JSON: all that a later check needs."""
    return {
        "max_error": request.max_error,
        "confidence": request.confidence,
        "level": result.level,
        "per_class": request.per_class,
        "trust_test_set": request.trust_test_set,
        "population": case.population,
        "evaluation_labels": result.evaluation_labels,
        "parts": [
            {
                "class": None if part.name is None else found.names.index(part.name),
                "threshold": part.threshold,
                "accepted": part.accepted,
                "wrong": part.wrong,
                "bound": part.bound,
            }
            for part in result.parts
            if part.accepted
        ],
    }
