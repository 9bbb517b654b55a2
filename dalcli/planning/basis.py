"""Which points the forecast is made from: the measured versions, or models trained on random parts of the labels.

Labels that a strategy chose and labels drawn at random follow different laws: one or the other, never both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dalcli.config.words import counted
from dalcli.forecasting.curves import FEWEST_SIZES, Curve, Point
from dalcli.planning.metrics import Metric
from dalcli.planning.situation import Situation

ENOUGH = 5
"""Measured versions of so many sizes are forecast from; with fewer, random parts of the labels, if there are any."""


@dataclass(frozen=True)
class Points:
    """What the forecast is made from; ``notes`` say which points those are, and why."""

    kind: Literal["active", "random"]
    curve: Curve
    sizes: int
    notes: tuple[str, ...]
    subsets: bool = False

    @property
    def missing(self) -> int:
        """Further sizes that a forecast needs."""
        return max(FEWEST_SIZES - self.sizes, 0)


def points_of(situation: Situation, parts: tuple[Point, ...] = (), prefer_parts: bool = False) -> Points:
    """The measured versions where there are enough; else ``parts``, points of random parts, if there are any."""
    trajectory, metric = situation.curve, situation.metric
    if parts and (trajectory.sizes < ENOUGH or prefer_parts):
        return _of_parts(parts, metric, trajectory.sizes)
    curve = trajectory.curve(metric)
    return Points(curve.kind, curve, trajectory.sizes, trajectory.notes)


def _of_parts(parts: tuple[Point, ...], metric: Metric, measured: int) -> Points:
    sizes = len({point.labels for point in parts})
    note = (
        f"made from {counted(len(parts), 'model')} trained on random parts of the labels, not from the "
        f"{counted(measured, 'measured size')}: it foretells what labels drawn at random would bring"
    )
    return Points("random", Curve(parts, "random", metric.chance), sizes, (note,), subsets=True)
