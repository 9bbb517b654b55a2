"""Doubt, which the uncertain strategies share: the probability that is not the likeliest class's, to full precision.

Near certainty, 1 − max p in float32 has lost all digits, while the small probabilities have kept theirs:
acquisitions are built from them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dalcli.scores.columns import Floats

_FEW_CLASSES = 32


def split_top(probabilities: NDArray[Any]) -> tuple[Floats, Floats]:
    """``(doubt, rest)``: the summed probability of all classes but the likeliest (n,), and those classes' own (n, K).

    ``rest`` is ``probabilities`` (n, K) in float64 with the largest of each row set to 0. A NaN anywhere in a row makes
    its doubt NaN.
    """
    rest = probabilities.astype(np.float64)
    rows, top = np.arange(len(rest)), rest.argmax(axis=1)
    undefined = np.isnan(rest[rows, top])  # argmax finds a NaN first
    rest[rows, top] = 0.0
    return np.where(undefined, np.nan, rest.sum(axis=1)), rest


def doubt_and_second(probabilities: NDArray[Any]) -> tuple[Floats, Floats]:
    """The summed probability of all classes but the likeliest, and the second largest probability, both (n,) float64.

    A NaN anywhere in a row (n, K) makes both NaN. A single class leaves no doubt and no second: 0.
    """
    if probabilities.shape[1] > _FEW_CLASSES:
        doubt, rest = split_top(probabilities)
        return doubt, np.where(np.isnan(doubt), np.nan, rest.max(axis=1))
    second = np.zeros(len(probabilities))
    doubt = np.zeros(len(probabilities))
    for loser in losers(probabilities):
        doubt += loser
        np.maximum(second, loser, out=second)
    return doubt, second


def doubt_and_entropy(probabilities: NDArray[Any]) -> tuple[Floats, Floats]:
    """The doubt, as :func:`doubt_and_second` returns it, and −Σ p log p over all classes but the likeliest."""
    if probabilities.shape[1] > _FEW_CLASSES:
        doubt, rest = split_top(probabilities)
        logs = np.log(rest, out=np.zeros_like(rest), where=rest > 0)
        return doubt, -(rest * logs).sum(axis=1)
    doubt = np.zeros(len(probabilities))
    entropy = np.zeros(len(probabilities))
    for loser in losers(probabilities):
        doubt += loser
        entropy -= loser * np.log(np.maximum(loser, np.finfo(np.float64).tiny))
    return doubt, entropy


def losers(probabilities: NDArray[Any]) -> list[Floats]:
    """All probabilities but the largest of each row, as K − 1 arrays (n,) float64 (one of zeros for a single class).

    A tournament: class after class meets the largest so far, and the smaller of the two is out. Whole columns at
    a time this is many times faster than looking for the largest in each short row.
    """
    columns = np.ascontiguousarray(probabilities.T, dtype=np.float64)
    largest = columns[0]
    if len(columns) == 1:
        return [np.where(np.isnan(largest), np.nan, 0.0)]
    out = []
    for column in columns[1:]:
        out.append(np.minimum(largest, column))
        largest = np.maximum(largest, column)
    return out
