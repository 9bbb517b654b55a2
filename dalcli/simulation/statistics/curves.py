"""Learning curves as numbers: their area, and the labels at which they reach an accuracy."""

from __future__ import annotations

import math

import numpy as np

from dalcli.scores.columns import Floats


def area(labels: Floats, accuracy: Floats) -> Floats:
    """Area under piecewise linear curves over the labels they span, divided by that span: a mean accuracy.

    ``labels`` is (p,) increasing, ``accuracy`` (..., p); of a single point it is the accuracy there.
    """
    if len(labels) == 1:
        return np.asarray(accuracy[..., 0])
    steps = np.diff(labels)
    middles = (accuracy[..., 1:] + accuracy[..., :-1]) / 2
    return np.asarray((middles @ steps) / (labels[-1] - labels[0]))


def labels_needed(labels: Floats, accuracy: Floats, target: float) -> float:
    """Where the piecewise linear curve first reaches ``target``: inf if never; the first point if it starts above.

    ``labels`` and ``accuracy`` are (p,).
    """
    reached = np.flatnonzero(accuracy >= target)
    if not len(reached):
        return math.inf
    first = int(reached[0])
    if first == 0:
        return float(labels[0])
    before, after = accuracy[first - 1], accuracy[first]
    fraction = (target - before) / (after - before)
    return float(labels[first - 1] + fraction * (labels[first] - labels[first - 1]))
