"""Which predictions may count as labels, if at most so many of them are to be wrong. Arrays in, arrays out.

The pool has N images like those of the evaluation set: U that nobody has labeled, and those that were taken out of it
by choice. A version is *sure* of an image if its confidence reaches a threshold t; it is sure of A of the U. Of the n
evaluation images, which were drawn at random and which it has never seen, it is sure and wrong about k. Then the bound

    b(k) = max(N · p̄, w̄),   p̄: Clopper–Pearson's for k of n,   w̄: the same for the N unseen ones of N + n

exceeds, with the asked confidence, both the number of sure and wrong answers to be expected among N such images (p̄) and
the number among these very N (w̄, hypergeometric). What a strategy took out of the pool may all have been right: so the
promise "at most a fraction α of the accepted is wrong" is made where b(k) ≤ α A, and holds whatever was taken out.

Thresholds are tested one after the other, from the highest confidence down, each at the full level, until one fails
(fixed-sequence testing, in the form of Angelopoulos et al., "Learn then Test", 2021): the first threshold whose promise
would be false is passed with a probability of at most 1 − confidence, and no lower one is reached without passing it.
For that, neither the sequence nor the confidences may depend on the evaluation labels. The sequence is fixed by the
pool's confidences alone: from the fewest images that could be accepted if no error were seen, in equal steps to all U.
Confidences are those before any temperature, which is fitted on evaluation labels and changes the order of images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dalcli.prediction.tails import binomial_tail, clopper_pearson_upper, hypergeometric_tail, unseen_upper

STEPS = 50
"""Thresholds after the first one."""
SURE = np.float32(1 - 1e-6)
"""Higher confidences are one: float32 can hardly tell them apart, and not alike in two computations."""
MOST_LABELS = 1_000_000
_LADDER = 1.03


@dataclass(frozen=True)
class Promise:
    """What was asked for: at most ``max_error`` of the accepted are wrong, with probability ``1 - miss`` or more."""

    max_error: float
    miss: float

    def holds(self, wrong: int, labels: int, population: int, accepted: int) -> bool:
        """Whether it can be given for ``accepted`` of ``population`` images: b(wrong) ≤ max_error · accepted.

        ``wrong`` of ``labels`` evaluation images are sure and wrong.
        """
        if not accepted or not labels:
            return False
        allowed = self.max_error * accepted
        if binomial_tail(wrong, labels, min(1.0, allowed / population)) > self.miss:
            return False
        most = int(allowed + 1e-9)
        return most >= population or hypergeometric_tail(wrong, labels + population, wrong + most + 1, labels) <= (
            self.miss
        )


def bound(wrong: int, labels: int, population: int, accepted: int, miss: float) -> float:
    """b(wrong) / accepted: the error among the accepted that the true one exceeds with probability ``miss`` at most."""
    rate = clopper_pearson_upper(wrong, labels, miss)
    return min(1.0, max(rate * population, unseen_upper(wrong, labels, population, miss)) / accepted)


@dataclass(frozen=True)
class Step:
    """One threshold that was tested: confidences from ``threshold`` up were ``accepted``, ``wrong`` in evaluation."""

    threshold: float
    accepted: int
    wrong: int
    passed: bool


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a promise rests on.

    Attributes:
        pool: (U,) confidences of the images that nobody has labeled.
        population: N, the same and those that were taken out of the pool by choice.
        labels: n, all evaluation labels.
        mistakes: (m,) confidences of those of them that the version is wrong about.
    """

    pool: NDArray[np.float32]
    population: int
    labels: int
    mistakes: NDArray[np.float32]

    @cached_property
    def _pool(self) -> NDArray[np.float32]:
        """Ascending."""
        return np.sort(capped(self.pool))

    @cached_property
    def _mistakes(self) -> NDArray[np.float32]:
        return np.sort(capped(self.mistakes))

    def sequence(self, first: int) -> Iterator[tuple[float, int, int]]:
        """Threshold, accepted and wrong: from ``first`` accepted images to all, in equal steps; ties come together."""
        size, before = len(self._pool), -1
        for step in range(STEPS + 1):
            target = first + round((size - first) * step / STEPS)
            threshold = self._pool[size - target]
            accepted = size - int(np.searchsorted(self._pool, threshold, side="left"))
            if accepted > before:
                before = accepted
                wrong = len(self._mistakes) - int(np.searchsorted(self._mistakes, threshold, side="left"))
                yield float(threshold), accepted, wrong

    def tested(self, promise: Promise, labels: int | None = None) -> list[Step]:
        """The thresholds up to the first that fails; none where even one without any error would fail.

        ``labels``: what there would be with so many evaluation labels, if the model erred as often as so far.
        """
        count = self.labels if labels is None else labels
        first = self.first(promise, count)
        steps: list[Step] = []
        if first is None:
            return steps
        for threshold, accepted, seen in self.sequence(first):
            wrong = seen if labels is None else -(-seen * labels // max(self.labels, 1))
            passed = promise.holds(wrong, count, self.population, accepted)
            steps.append(Step(threshold, accepted, wrong, passed))
            if not passed:
                break
        return steps

    def first(self, promise: Promise, labels: int) -> int | None:
        """Images that the first threshold accepts: the fewest that no error would allow; None: too many."""
        low, high = 0, len(self.pool)
        if not promise.holds(0, labels, self.population, high):
            return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if promise.holds(0, labels, self.population, middle) else (middle, high)
        return high

    def accepted(self, promise: Promise) -> Step | None:
        """The lowest threshold that all tests up to it passed."""
        return last_passed(self.tested(promise))


@dataclass(frozen=True)
class Prospect:
    """With ``labels`` evaluation labels in all ``accepted`` images would be, if the model errs as often as so far."""

    labels: int
    accepted: int


def last_passed(steps: list[Step]) -> Step | None:
    """The last step that passed."""
    passed = [step for step in steps if step.passed]
    return passed[-1] if passed else None


def prospects(evidence: Evidence, promise: Promise, most: int = MOST_LABELS) -> Iterator[Prospect]:
    """More evaluation labels, up to ``most`` in all, each with more accepted images than those before."""
    now = evidence.accepted(promise)
    best = 0 if now is None else now.accepted
    labels, size = max(evidence.labels, 1), len(evidence.pool)
    while labels < most and best < size:
        before, labels = labels, min(most, max(labels + 1, int(labels * _LADDER)))
        accepted = _accepted_with(evidence, promise, labels)
        if accepted > best:
            labels = _fewest_labels(evidence, promise, before, labels, best)
            best = _accepted_with(evidence, promise, labels)
            yield Prospect(labels, best)


def _fewest_labels(evidence: Evidence, promise: Promise, low: int, high: int, best: int) -> int:
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _accepted_with(evidence, promise, middle) > best else (middle, high)
    return high


def _accepted_with(evidence: Evidence, promise: Promise, labels: int) -> int:
    found = last_passed(evidence.tested(promise, labels))
    return 0 if found is None else found.accepted


def capped(confidence: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Confidences as they are compared with thresholds."""
    return np.minimum(confidence.astype(np.float32), SURE)
