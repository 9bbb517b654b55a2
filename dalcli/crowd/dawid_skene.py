"""What the true labels are and how each annotator errs, found together: Dawid and Skene's model, by EM.

Every annotator a has a confusion matrix π_a[t, s]: how often a sample of class t is called s. Given the truth,
annotators err independently. EM alternates: from what the truths probably are to the π_a that fit best, and back.
(A. P. Dawid, A. M. Skene: Maximum likelihood estimation of observer error-rates using the EM algorithm, 1979.)

Two things are added. Every row of π_a starts with pseudo-votes (``RIGHT`` for the true class, ``ANY`` spread over all),
so that five right answers do not make an annotator infallible. And samples that only one annotator has seen say nothing
about how anybody errs: leave them out.
"""

from __future__ import annotations

from dataclasses import dataclass

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

    Starts from the shares of the votes. Memory: a few times (samples + votes) × classes × 8 bytes.

    Raises:
        ValueError: there is no vote.
    """
    if not len(votes):
        raise ValueError("no votes")
    votes = votes.sorted()
    samples, classes = int(votes.samples.max()) + 1, int(votes.classes.max()) + 1
    confusion = _Confusion(votes, classes, right, anything)
    found = np.zeros((samples, classes))
    np.add.at(found, (votes.samples, votes.classes), 1.0)
    found /= found.sum(axis=1, keepdims=True).clip(1.0)
    for _ in range(MAX_ITERATIONS):
        before, found = found, _expectation(votes, found, confusion, anything)
        if np.abs(found - before).max() < TOLERANCE:
            break
    return found


def _expectation(votes: Votes, truth: Floats, confusion: _Confusion, anything: float) -> Floats:
    """The truths, given the confusion matrices that fit ``truth`` best."""
    share = truth.sum(axis=0) + anything  # a class that was never the truth is rare, not impossible
    logs = np.tile(np.log(share / share.sum()), (len(truth), 1))
    np.add.at(logs, votes.samples, confusion.log_likelihood(truth))
    logs -= logs.max(axis=1, keepdims=True)
    found = np.exp(logs)
    normalised: Floats = found / found.sum(axis=1, keepdims=True)
    return normalised


class _Confusion:
    """π of all annotators, kept only where somebody said something: one row per (annotator, class said)."""

    def __init__(self, votes: Votes, classes: int, right: float, anything: float) -> None:
        self._votes, self._classes = votes, classes
        pairs, self._pair = np.unique(votes.annotators * classes + votes.classes, return_inverse=True)
        self._who, self._said = pairs // classes, pairs % classes
        self._right, self._spread, self._prior = right, anything / classes, right + anything

    def log_likelihood(self, truth: Floats) -> Floats:
        """log π_a[t, s] of every vote (a, s), for every t: (votes, classes)."""
        heard = truth[self._votes.samples]
        said = np.zeros((len(self._who), self._classes))
        np.add.at(said, self._pair, heard)
        seen = np.zeros((int(self._who.max()) + 1, self._classes))
        np.add.at(seen, self._who, said)
        said += self._spread
        said[np.arange(len(said)), self._said] += self._right
        logs: Floats = np.log(said) - np.log(seen[self._who] + self._prior)
        return logs[self._pair]


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
