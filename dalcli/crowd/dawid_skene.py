"""What the true labels are and how each annotator errs, found together: Dawid and Skene's model, by EM.

Every annotator a has a confusion matrix π_a[t, s]: how often a sample of class t is called s. Given the truth,
annotators err independently. EM alternates: from what the truths probably are to the π_a that fit best, and back.
(A. P. Dawid, A. M. Skene: Maximum likelihood estimation of observer error-rates using the EM algorithm, 1979.)

Two things are added. Every row of π_a starts with pseudo-votes (``RIGHT`` for the true class, ``ANY`` spread over all),
so that five right answers do not make an annotator infallible. And samples that only one annotator has seen say nothing
about how anybody errs: leave them out.

Samples of which the same annotators said the same are one to EM, with a weight: most agree, so there are far fewer.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

RIGHT = 1.0
ANY = 1.0
TOLERANCE = 1e-7
MAX_ITERATIONS = 500


@dataclass(frozen=True, eq=False)
class Votes:
    """Who said what: three arrays (v,) of indices from 0; nobody votes twice on one sample."""

    samples: Ints
    annotators: Ints
    classes: Ints

    def __len__(self) -> int:
        return len(self.samples)

    def sorted(self) -> Votes:
        """By sample, then annotator: sums then do not depend on the order in which votes came, to the last bit."""
        order = np.lexsort((self.classes, self.annotators, self.samples))
        return Votes(self.samples[order], self.annotators[order], self.classes[order])


def dawid_skene(votes: Votes, *, right: float = RIGHT, anything: float = ANY) -> Floats:
    """Probability of every class for every sample: (samples, classes), rows sum to 1.

    Pseudo-votes ``right`` and ``anything`` (> 0) are as above; frequencies of classes start with ``anything``, too.

    Starts from the shares of the votes. Memory: a few times (different samples + their votes) × classes × 8 bytes, and
    what is returned.

    Raises:
        ValueError: there is no vote.
    """
    if not len(votes):
        raise ValueError("no votes")
    votes = votes.sorted()
    classes = int(votes.classes.max()) + 1
    alike, weights, votes = _distinct(votes)
    confusion = _Confusion(votes, weights, classes, right, anything)
    found = _Groups(votes.samples).add_to(np.zeros((len(weights), classes)), np.eye(classes)[votes.classes])
    found /= found.sum(axis=1, keepdims=True).clip(1.0)
    for _ in range(MAX_ITERATIONS):
        before, found = found, _expectation(found, weights, confusion, anything)
        if np.abs(found - before).max() < TOLERANCE:
            break
    return found[alike]


def _distinct(votes: Votes) -> tuple[Ints, Floats, Votes]:
    """Which different sample each one is, how many are like it, and the votes on those, by sample."""
    bounds = np.searchsorted(votes.samples, np.arange(int(votes.samples.max()) + 2)).tolist()
    said = np.stack([votes.annotators, votes.classes], axis=1)
    numbers: dict[bytes, int] = {}
    alike = np.array(
        [numbers.setdefault(said[start:end].tobytes(), len(numbers)) for start, end in pairwise(bounds)], dtype=np.int64
    )
    first = np.unique(alike, return_index=True)[1]
    own = first[alike[votes.samples]] == votes.samples
    distinct = Votes(alike[votes.samples[own]], votes.annotators[own], votes.classes[own])
    return alike, np.bincount(alike).astype(np.float64), distinct


def _expectation(truth: Floats, weights: Floats, confusion: _Confusion, anything: float) -> Floats:
    """The truths, given the confusion matrices that fit ``truth`` best."""
    share = weights @ truth + anything  # a class that was never the truth is rare, not impossible
    logs = confusion.add_log_likelihood(np.tile(np.log(share / share.sum()), (len(truth), 1)), truth)
    logs -= logs.max(axis=1, keepdims=True)
    found = np.exp(logs)
    normalised: Floats = found / found.sum(axis=1, keepdims=True)
    return normalised


class _Groups:
    """Sums of rows that have the same key; in order of keys, and within a key of rows."""

    def __init__(self, keys: Ints) -> None:
        self._order = np.argsort(keys, kind="stable")
        self._keys, self._starts = np.unique(keys[self._order], return_index=True)

    def add_to(self, sums: Floats, rows: Floats) -> Floats:
        """``sums``, to whose row of every key its ``rows`` were added."""
        sums[self._keys] += np.add.reduceat(rows[self._order], self._starts)
        return sums


class _Confusion:
    """π of all annotators, kept only where somebody said something: one row per (annotator, class said)."""

    def __init__(self, votes: Votes, weights: Floats, classes: int, right: float, anything: float) -> None:
        self._samples, self._by_sample = votes.samples, _Groups(votes.samples)
        self._weights = weights[votes.samples, None]
        pairs, self._pair = np.unique(votes.annotators * classes + votes.classes, return_inverse=True)
        self._who, self._said = pairs // classes, pairs % classes
        self._by_pair, self._by_annotator = _Groups(self._pair), _Groups(self._who)
        self._right, self._spread, self._prior = right, anything / classes, right + anything

    def add_log_likelihood(self, logs: Floats, truth: Floats) -> Floats:
        """``logs`` plus log π_a[t, s] of every vote (a, s) on a sample, for every t: (samples, classes)."""
        classes = truth.shape[1]
        said = self._by_pair.add_to(np.zeros((len(self._who), classes)), truth[self._samples] * self._weights)
        seen = self._by_annotator.add_to(np.zeros((int(self._who.max()) + 1, classes)), said)
        said += self._spread
        said[np.arange(len(said)), self._said] += self._right
        return self._by_sample.add_to(logs, (np.log(said) - np.log(seen[self._who] + self._prior))[self._pair])


def companies(votes: Votes) -> Ints:
    """For every annotator, which company it belongs to: those who are linked by samples that they share.

    Of two annotators alone nobody can tell which one errs; it takes a company of three.
    """
    parent = list(range(int(votes.annotators.max()) + 1 if len(votes) else 0))

    def root(annotator: int) -> int:
        while parent[annotator] != annotator:
            parent[annotator] = parent[parent[annotator]]
            annotator = parent[annotator]
        return annotator

    ordered = votes.sorted()
    same = ordered.samples[1:] == ordered.samples[:-1]
    links = np.unique(np.stack([ordered.annotators[:-1][same], ordered.annotators[1:][same]], axis=1), axis=0)
    for one, other in links.tolist():
        parent[root(one)] = root(other)
    return np.array([root(annotator) for annotator in range(len(parent))], dtype=np.int64)
