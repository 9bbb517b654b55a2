"""What a forecast is made from: measured points of a learning curve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FEWEST_SIZES = 4
"""Fewer distinct sizes than this tell next to nothing of where a curve bends (PALM, 2025, asks for four as well)."""

Floats = NDArray[np.float64]


class NotEnoughPoints(Exception):
    """A curve has fewer distinct sizes than a forecast needs; `have` and `need` count them."""

    def __init__(self, have: int, need: int = FEWEST_SIZES) -> None:
        super().__init__(
            f"a forecast needs {need} different numbers of labels with a measured value, and there are {have}"
        )
        self.have = have
        self.need = need


@dataclass(frozen=True)
class Point:
    """One measurement.

    Attributes:
        labels: Labels that the model had seen.
        value: The metric, in [0, 1], higher is better.
        evaluated: Size of the evaluation set it was measured on; 0 where that is unknown.
        strategy: What chose the labels, for the cautions only.
    """

    labels: int
    value: float
    evaluated: int
    strategy: str = ""


@dataclass(frozen=True)
class Curve:
    """Points of one kind: an active trajectory and nested random subsets follow different laws and are never pooled.

    Attributes:
        points: Measurements in any order; sizes may repeat.
        kind: Whether labels were chosen by a strategy or drawn at random.
        chance: The metric's floor, e.g. 1 / classes.
    """

    points: tuple[Point, ...]
    kind: Literal["active", "random"]
    chance: float


@dataclass(frozen=True)
class Measurements:
    """A curve's points as arrays, sorted by labels, one entry a distinct size.

    Attributes:
        labels: Distinct sizes, ascending. [p]
        value: Mean of the values measured at each, weighted by evaluation sizes. [p]
        evaluated: Evaluation examples behind each; 0 where unknown for any of them. [p]
    """

    labels: Floats
    value: Floats
    evaluated: Floats


def measurements(curve: Curve) -> Measurements:
    """Sort a curve's points and merge those of one size.

    Raises:
        NotEnoughPoints: Fewer than four distinct sizes.
        ValueError: A value that is not in [0, 1], or labels below one.
    """
    labels = np.array([point.labels for point in curve.points], dtype=np.float64)
    value = np.array([point.value for point in curve.points], dtype=np.float64)
    evaluated = np.array([max(point.evaluated, 0) for point in curve.points], dtype=np.float64)
    if not bool(np.all((value >= 0) & (value <= 1))):
        raise ValueError("a learning curve's values lie between 0 and 1")
    if not bool(np.all(labels >= 1)):
        raise ValueError("a learning curve's sizes are one label or more")
    sizes, of_size = np.unique(labels, return_inverse=True)
    if len(sizes) < FEWEST_SIZES:
        raise NotEnoughPoints(len(sizes))
    weight = np.where(evaluated > 0, evaluated, 1.0)
    total = np.bincount(of_size, weight)
    # The same examples measured twice are no more examples: the largest set counts, not the sum.
    largest = np.zeros(len(sizes))
    np.maximum.at(largest, of_size, evaluated)
    unknown = np.bincount(of_size, evaluated == 0) > 0
    return Measurements(sizes, np.bincount(of_size, weight * value) / total, np.where(unknown, 0.0, largest))
