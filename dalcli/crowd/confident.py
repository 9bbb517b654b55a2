"""Which labels a model contradicts with confidence: confident learning.

A class is *confident* for a sample if its probability reaches the mean that the class has among the samples labeled
with it. A label is suspect if the most probable confident class is another one, and is more probable than the label.
(C. Northcutt, L. Jiang, I. Chuang: Confident learning: estimating uncertainty in dataset labels, 2021.)

The probabilities must come from models that have not seen the label in question.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_SLACK = 1e-6
_LEAST = 1e-6


@dataclass(frozen=True, eq=False)
class Suspects:
    """Rows of the suspect labels, most suspicious first, and which class the model says instead."""

    rows: NDArray[np.int64]
    suggested: NDArray[np.int64]


def suspects(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> Suspects:
    """Suspect labels by out-of-sample ``probabilities`` (n, K) of samples with ``labels`` (n,) in 0 … K − 1.

    First those to whose label the model gives the least probability.
    """
    rows = np.arange(len(labels))
    confident = probabilities >= _thresholds(probabilities, labels) - _SLACK
    ranked = np.where(confident, probabilities, -1.0)
    suggested = ranked.argmax(axis=1)
    given = probabilities[rows, labels]
    found = rows[confident.any(axis=1) & (suggested != labels) & (probabilities[rows, suggested] > given)]
    order = found[np.lexsort((found, given[found]))]
    return Suspects(order, suggested[order])


def _thresholds(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean probability of each class among its own; what no label names, no sample is confident of."""
    count = probabilities.shape[1]
    own = np.bincount(labels, weights=probabilities[np.arange(len(labels)), labels], minlength=count)
    sizes = np.bincount(labels, minlength=count)
    return np.where(sizes > 0, np.maximum(own / np.maximum(sizes, 1), _LEAST), 2.0)
