"""Predictions of a model that is older than today's classes: some have come since, some have been merged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def representatives(counted_as: Sequence[int], classes: int) -> NDArray[np.int64]:
    """For each of the first ``classes`` outputs, the output that gets what it says: the class it counts as.

    Where the model is older than that class, the first of its parts stands for it.
    """
    first: dict[int, int] = {}
    for position, target in enumerate(counted_as[:classes]):
        first.setdefault(target, target if target < classes else position)
    return np.array([first[target] for target in counted_as[:classes]], dtype=np.int64)


def merged_probabilities(probabilities: NDArray[Any], counted_as: Sequence[int]) -> NDArray[Any]:
    """(..., K): a merged class has the sum of its parts, and its parts have 0."""
    target = representatives(counted_as, probabilities.shape[-1])
    moved = np.flatnonzero(target != np.arange(len(target)))
    if not len(moved):
        return probabilities
    found = probabilities.copy()
    for part in moved:
        found[..., target[part]] += found[..., part]
        found[..., part] = 0
    return found


def padded_logits(logits: NDArray[Any], classes: int) -> NDArray[Any]:
    """(n, ``classes``): classes that came after a version was trained are impossible to it."""
    missing = classes - logits.shape[1]
    return np.pad(logits, ((0, 0), (0, missing)), constant_values=-np.inf) if missing else logits


def merged_logits(logits: NDArray[np.float32], counted_as: Sequence[int]) -> NDArray[np.float32]:
    """(n, K): the same in logits, e^z being added up; parts have −∞."""
    target = representatives(counted_as, logits.shape[-1])
    moved = np.flatnonzero(target != np.arange(len(target)))
    if not len(moved):
        return logits
    found = logits.copy()
    for part in moved:
        found[:, target[part]] = np.logaddexp(found[:, target[part]], found[:, part])
        found[:, part] = -np.inf
    return found
