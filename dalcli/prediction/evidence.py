"""What the evaluation labels say about a version, if they may be asked: were they drawn at random from the pool?

The evaluation reserve is: a keyed hash of its content decides whether an image belongs to it, and in which order those
that do are handed out. So the first m of the reserve are a uniform sample of the pool as it is now, whatever m is. They
no longer are if somebody labeled others first, or if images came in later whose turn would have been earlier.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dalcli.config.schema import Config
from dalcli.config.words import counted
from dalcli.errors import NotReadyError, UsageError
from dalcli.evaluation.intervals import sequential_lower
from dalcli.evaluation.outcomes import Outcomes
from dalcli.evaluation.run import measured_now
from dalcli.prediction.calibrated import Likeliest
from dalcli.prediction.guarantee import Evidence
from dalcli.prediction.version import Predictor
from dalcli.state import auto_labels
from dalcli.state.auto_labels import Candidates, ReserveState
from dalcli.state.database import Connection
from dalcli.state.evaluations import Measurement
from dalcli.workspace.session import evaluation_reserve


@dataclass(frozen=True, eq=False)
class Judged:
    """What a version said of every evaluation label: class (n,), its confidence (n,), and whether it is wrong (n,)."""

    predicted: NDArray[np.integer[Any]]
    confidence: NDArray[np.float32]
    wrong: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.wrong)


@dataclass(frozen=True, eq=False)
class Case:
    """All that a promise about the pool rests on.

    Attributes:
        candidates: the images that may be labeled; ``said`` is what the version says of them.
        left: evaluation labels that the reserve can still give.
        unusable: evaluation images that were answered, but have no label to judge by.
    """

    candidates: Candidates
    said: Likeliest
    judged: Judged
    left: int
    unusable: int
    readable: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "readable", ~np.isnan(self.said.raw))

    @property
    def population(self) -> int:
        """Images that nobody has labeled, and those that were taken out of the pool by choice."""
        return int(self.readable.sum()) + self.candidates.chosen

    def evidence(self, label: int | None = None) -> Evidence:
        """On all images, or on those that are predicted to be of one class."""
        mine, theirs = self.readable, self.judged.wrong
        if label is not None:
            mine = mine & (self.said.classes[:, 0] == label)
            theirs = theirs & (self.judged.predicted == label)
        return Evidence(self.said.raw[mine], self.population, len(self.judged), self.judged.confidence[theirs])

    @property
    def classes(self) -> list[int]:
        """Those that some image is predicted to be of."""
        return [int(label) for label in np.unique(self.said.classes[self.readable, 0])]


def judged(measured: Measurement | None, version: str) -> Judged:
    """What ``evaluate`` has kept.

    Raises:
        NotReadyError: nothing, or not enough.
    """
    if measured is None or measured.outcomes is None or measured.confidences is None:
        raise NotReadyError(
            f"{version} was not measured on the evaluation labels of now", f"run: dalcli evaluate --model {version}"
        )
    found = Outcomes.from_bytes(measured.outcomes)
    sure = np.frombuffer(measured.confidences, "<f4")
    return Judged(found.predicted, sure, found.predicted != found.label)


def require_uniform(connection: Connection, trust_test_set: bool) -> None:
    """Refuse evaluation labels that are no random sample of the pool.

    Raises:
        NotReadyError: a test set was given, or the labels are not the first of the reserve.
        UsageError: there is no test set to trust.
    """
    reserve = auto_labels.reserve(connection)
    given = sum(sample.position >= evaluation_reserve(connection) for sample in reserve)
    if given and not trust_test_set:
        raise NotReadyError(
            f"{given} of {counted(len(reserve), 'evaluation image')} were named as a test set, not drawn from the "
            "pool: what holds for them need not hold for the pool",
            "pass --trust-test-set if they were drawn at random from the same images",
        )
    if trust_test_set and not given:
        raise UsageError("--trust-test-set: there is no test set here", "leave it out: the reserve was drawn at random")
    gaps = _gaps(reserve)
    if gaps:
        raise NotReadyError(
            f"{counted(gaps, 'evaluation image has', 'evaluation images have')} no answer, but come before others that "
            "have one: the labels there are, are no random sample",
            f"label them: dalcli query --purpose evaluation --budget {gaps} > to_label.csv",
        )


def _gaps(reserve: Sequence[ReserveState]) -> int:
    answered = [place for place, sample in enumerate(reserve) if sample.answered]
    return 0 if not answered else answered[-1] + 1 - len(answered)


def case(
    connection: Connection,
    config: Config,
    found: Predictor,
    said_of: Callable[[Sequence[str]], Likeliest],
    trust_test_set: bool,
) -> Case:
    """Everything, from what is stored.

    Raises:
        NotReadyError: the evaluation labels are no random sample, or the version was not measured on them.
        NotReadyError: the version was trained on labels by a model.
    """
    if auto_labels.saw_auto_labels(connection, found.model.key):
        raise NotReadyError(
            f"{found.model.version} was trained on labels by a model: how sure it is of these images is an echo",
            "set training.auto_labels: false and run dalcli train, or name an earlier version with --model",
        )
    require_uniform(connection, trust_test_set)
    measured = judged(measured_now(connection, config, found.model), found.model.version)
    candidates = auto_labels.candidates(connection)
    reserve = auto_labels.reserve(connection)
    answered = sum(sample.answered for sample in reserve)
    said = said_of(candidates.sample_ids)
    return Case(candidates, said, measured, len(reserve) - answered, max(0, answered - len(measured)))


def refuted(checked: int, wrong: int, max_error: float, confidence: float) -> str | None:
    """Why a promise does not stand against what people found who checked labels at random; None: it does.

    By the lower end of a confidence sequence, which holds at all numbers of labels at once.
    """
    least = sequential_lower(wrong, checked, confidence) if checked else 0.0
    if least <= max_error:
        return None
    return (
        f"{wrong} of {checked} that people checked are wrong: at least {100 * least:.2g}%, and "
        f"{100 * max_error:g}% were promised"
    )


def parts(found: Case, per_class: bool) -> Iterator[tuple[int | None, Evidence]]:
    """The evidence on all images at once, or class by class."""
    if not per_class:
        yield None, found.evidence()
        return
    for label in found.classes:
        yield label, found.evidence(label)
