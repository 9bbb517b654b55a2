"""Charts as SVG that takes its colours and its type from the page, so that they follow light and dark.

Each is drawn twice, for a wide page and for a narrow one: letters that shrink with a picture cannot be read on a phone.
Whatever is written into them is escaped here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from markupsafe import Markup, escape

from dalcli.report.chart import BarChart, Chart, CurveChart, log_ticks, ticks

SIZES = {"wide": 720.0, "narrow": 340.0}
CURVE_HEIGHT, BARS_HEIGHT = 330.0, 230.0
TOP, BOTTOM = 16.0, 44.0
CHARACTER = 7.2
"""Width of a character of a chart's type, about, in pixels."""


def drawn(chart: Chart, name: str) -> Markup:
    """The chart for either width; ``name`` keeps the ids of a page's charts apart."""
    parts = []
    for size, width in SIZES.items():
        identity = f"{name}-{size}"
        if isinstance(chart, CurveChart):
            height = CURVE_HEIGHT
            body = Markup("").join(_curve(chart, width, height))
        else:
            height = BARS_HEIGHT
            body = Markup("").join(_bars(chart, width, height))
        parts.append(
            Markup(
                '<svg class="chart {size}" viewBox="0 0 {w:g} {h:g}" width="{w:g}" height="{h:g}" role="img"'
                ' aria-labelledby="{id}-t {id}-d"><title id="{id}-t">{title}</title><desc id="{id}-d">{desc}</desc>'
                "{body}</svg>"
            ).format(size=size, w=width, h=height, id=identity, title=chart.title, desc=chart.description, body=body)
        )
    return Markup("\n").join(parts)


class _Frame:
    """The place of the plot, and of values in it."""

    def __init__(self, width: float, height: float, y_labels: Sequence[str], low: float, high: float) -> None:
        self.left = 14 + CHARACTER * max(map(len, y_labels))
        self.right, self.top, self.bottom = width - 14, TOP, height - BOTTOM
        self.low, self.high = low, high

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.bottom - min(max(share, 0.0), 1.0) * (self.bottom - self.top), 1)

    def grid(self, marks: Sequence[float], written: Callable[[float], str]) -> Iterator[Markup]:
        for mark in marks:
            yield _line("grid", self.left, self.y(mark), self.right, self.y(mark))
            yield _text(self.left - 8, self.y(mark) + 4, "end", written(mark))


# Curves ---------------------------------------------------------------------------------------------------------------


def _curve(chart: CurveChart, width: float, height: float) -> Iterator[Markup]:
    low, high = _range(chart)
    y_marks = ticks(low, high)
    frame = _Frame(width, height, [chart.written(mark) for mark in y_marks], low, high)
    sizes = [n for n, *_ in chart.points] + [n for n, *_ in chart.band]
    first, last = max(min(sizes), 1.0), max(*sizes, 2.0)
    if last <= first:
        first, last = first / 2, last * 2

    def x(labels: float) -> float:
        share = math.log(max(labels, first) / first) / math.log(last / first)
        return round(frame.left + 10 + min(share, 1.0) * (frame.right - frame.left - 20), 1)

    yield from frame.grid(y_marks, chart.written)
    for mark in log_ticks(first, last, 8 if width > 400 else 5):
        yield _line("tick", x(mark), frame.bottom, x(mark), frame.bottom + 5)
        yield _text(x(mark), frame.bottom + 19, "middle", f"{mark:,.0f}")
    yield _text((frame.left + frame.right) / 2, height - 6, "middle", "labels", "axis")
    if chart.target is not None:
        yield _line("target", frame.left, frame.y(chart.target), frame.right, frame.y(chart.target))
    if chart.band:
        upper = [(x(n), frame.y(p90)) for n, _, _, p90 in chart.band]
        lower = [(x(n), frame.y(p10)) for n, p10, _, _ in chart.band]
        yield Markup('<polygon class="band" points="{}"/>').format(_points([*upper, *reversed(lower)]))
    for past in chart.past:
        inside = [(x(n), frame.y(p50)) for n, p50 in past if n <= last]
        yield Markup('<polyline class="past" points="{}"/>').format(_points(inside))
    if chart.band:
        middle = [(x(n), frame.y(p50)) for n, _, p50, _ in chart.band]
        yield Markup('<polyline class="forecast" points="{}"/>').format(_points(middle))
    measured = [(x(n), frame.y(value)) for n, _, value, _ in chart.points]
    yield Markup('<polyline class="measured" points="{}"/>').format(_points(measured))
    for n, ci_low, value, ci_high in chart.points:
        yield _line("whisker", x(n), frame.y(ci_low), x(n), frame.y(ci_high))
        yield Markup('<circle class="point" cx="{:g}" cy="{:g}" r="4.5"/>').format(x(n), frame.y(value))


def _range(chart: CurveChart) -> tuple[float, float]:
    values = [v for _, *three in chart.points for v in three] + [v for _, *three in chart.band for v in three]
    if chart.target is not None:
        values.append(chart.target)
    low, high = min(values), max(values)
    margin = 0.06 * (high - low) or 0.05 * (abs(high) or 1.0)
    top = high + margin if chart.most is None else min(high + margin, chart.most)
    return max(low - margin, 0.0), max(top, high)


# Bars -----------------------------------------------------------------------------------------------------------------


def _bars(chart: BarChart, width: float, height: float) -> Iterator[Markup]:
    high = max((sum(parts) for _, parts in chart.bars), default=0.0) or 1.0
    y_marks = ticks(0.0, high, 4)
    frame = _Frame(width, height, [chart.written(mark) for mark in y_marks], 0.0, high * 1.04)
    yield from frame.grid(y_marks, chart.written)
    pitch = (frame.right - frame.left - 8) / max(len(chart.bars), 1)
    thick = min(pitch * 0.72, 46.0)
    widest = max((len(name) for name, _ in chart.bars), default=1)
    every = max(1, math.ceil((widest + 1.5) * CHARACTER / pitch))
    for position, (name, parts) in enumerate(chart.bars):
        middle = frame.left + 4 + (position + 0.5) * pitch
        below = 0.0
        for part, kind in zip(parts, chart.parts, strict=True):
            if part > 0:
                top, bottom = frame.y(below + part), frame.y(below)
                yield Markup('<rect class="{}" x="{:g}" y="{:g}" width="{:g}" height="{:g}"/>').format(
                    kind, round(middle - thick / 2, 1), top, round(thick, 1), round(bottom - top, 1)
                )
            below += part
        if position % every == 0:
            yield _text(round(middle, 1), frame.bottom + 19, "middle", name)
    yield _text((frame.left + frame.right) / 2, height - 6, "middle", "batch", "axis")


# Pieces ---------------------------------------------------------------------------------------------------------------


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{:g}" y1="{:g}" x2="{:g}" y2="{:g}"/>').format(kind, x1, y1, x2, y2)


def _text(x: float, y: float, anchor: str, text: str, kind: str = "scale") -> Markup:
    return Markup('<text class="{}" x="{:g}" y="{:g}" text-anchor="{}">{}</text>').format(
        kind, x, y, anchor, escape(text)
    )


def _points(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in places)


def key(kind: str) -> Markup:
    """The sign of a legend's entry."""
    shapes = {
        "point": '<line class="whisker" x1="13" y1="0" x2="13" y2="12"/><circle class="point" cx="13" cy="6" r="4.5"/>',
        "forecast": '<line class="forecast" x1="0" y1="6" x2="26" y2="6"/>',
        "past": '<line class="past" x1="0" y1="6" x2="26" y2="6"/>',
        "target": '<line class="target" x1="0" y1="6" x2="26" y2="6"/>',
    }
    inside = (
        Markup(shapes[kind]) if kind in shapes else Markup('<rect class="{}" width="26" height="12"/>').format(kind)
    )
    return Markup('<svg viewBox="0 0 26 12" aria-hidden="true">{}</svg>').format(inside)
