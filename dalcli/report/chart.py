"""Charts as values, and how their axes are divided; ``svg`` draws them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class CurveChart:
    """A learning curve over a logarithmic axis of labels; every y in the metric's own units.

    Attributes:
        points: (labels, low, value, high) of every measured version.
        band: (labels, p10, p50, p90) of the forecast.
        past: forecasts of earlier rounds, each as (labels, p50).
        written: how a y is written.
        title, description: for who cannot see it.
    """

    title: str
    description: str
    points: Sequence[tuple[float, float, float, float]]
    band: Sequence[tuple[float, float, float, float]]
    past: Sequence[Sequence[tuple[float, float]]]
    target: float | None
    written: Callable[[float], str]
    legend: Sequence[tuple[str, str]]
    most: float | None = 1.0


@dataclass(frozen=True)
class BarChart:
    """Bars by batch, each a stack.

    Attributes:
        bars: name and height of every part; parts in the order of ``parts``, their classes in the style sheet.
    """

    title: str
    description: str
    bars: Sequence[tuple[str, Sequence[float]]]
    parts: Sequence[str]
    written: Callable[[float], str]
    legend: Sequence[tuple[str, str]]


Chart = CurveChart | BarChart


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers from ``low`` to ``high``: multiples of 1, 2 or 5 times a power of ten."""
    if not high > low:
        return [low]
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(n * step, 12) for n in range(first, last + 1)]


def log_ticks(low: float, high: float, most: int = 7) -> list[float]:
    """Round numbers for a logarithmic axis: 1, 2, 5, 10, 20 ..., thinned out to ``most``."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    fine = [factor * 10.0**power for power in decades for factor in (1, 2, 3, 5, 7)]
    for allowed in ({1, 2, 3, 5, 7}, {1, 2, 5}, {1, 3}, {1}):
        found = [n for n in fine if low <= n <= high and round(n / 10 ** math.floor(math.log10(n) + 1e-9)) in allowed]
        if len(found) <= most:
            return found if len(found) > 1 else [low, high]
    return found
