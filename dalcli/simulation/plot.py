"""Learning curves as an SVG picture: a panel per setting, a line per strategy, a band for its interval.

Written by hand, so that a plot needs no package and its bytes depend on the numbers alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape

from dalcli.config.words import counted
from dalcli.simulation.cells import Setting
from dalcli.simulation.summary import SettingSummary, StrategySummary

# Okabe & Ito's colours, told apart by colour-blind readers too; after eight the dashes change.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#a08c00")
DASHES = ("", "7 3", "2 3", "9 3 2 3")
WIDTH, HEIGHT, PER_ROW = 560, 400, 2
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 40, 44
LINE = 15  # of the legend
MAX_TICKS = 7


def draw_curves(settings: Sequence[SettingSummary], title: str, level: float) -> str:
    """The whole picture; strategies without a finished cell are left out."""
    names = list(dict.fromkeys(s.strategy for setting in settings for s in setting.strategies))
    styles = {name: _style(index) for index, name in enumerate(names)}
    columns = min(PER_ROW, len(settings))
    rows = math.ceil(len(settings) / PER_ROW)
    legend = LINE * (max(len(setting.strategies) for setting in settings) + 2) + 12
    width, height = columns * WIDTH, rows * (HEIGHT + legend) + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        _text(width / 2, 20, title, size=15),
    ]
    for index, setting in enumerate(settings):
        x, y = (index % PER_ROW) * WIDTH, 30 + (index // PER_ROW) * (HEIGHT + legend)
        parts.append(f'<g transform="translate({x} {y})">')
        parts += _panel(setting, styles, level)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>"]) + "\n"


def _style(index: int) -> str:
    dash = DASHES[index // len(COLOURS) % len(DASHES)]
    pattern = f' stroke-dasharray="{dash}"' if dash else ""
    return f'stroke="{COLOURS[index % len(COLOURS)]}"{pattern}'


def _panel(setting: SettingSummary, styles: dict[str, str], level: float) -> Iterator[str]:
    shown = [strategy for strategy in setting.strategies if any(strategy.accuracy)]
    values = [v for strategy in shown for e in strategy.accuracy if e for v in (e.mean, e.low, e.high) if v is not None]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    axes = _Axes(float(setting.labels[0]), float(setting.labels[-1]), low, high)
    yield _text(LEFT + (WIDTH - LEFT - RIGHT) / 2, 24, _heading(setting.setting))
    yield from axes.draw()
    for strategy in shown:
        yield from _curve(strategy, setting.labels, axes, styles[strategy.strategy])
    caption = f"area under the curve, with its {100 * level:.3g}% interval over seeds:"
    yield _text(LEFT, HEIGHT + LINE / 2, caption, anchor="start")
    for row, strategy in enumerate(sorted(shown, key=_area, reverse=True)):
        yield from _legend(strategy, HEIGHT + LINE * (row + 1.5), styles[strategy.strategy])


def _heading(setting: Setting) -> str:
    parts = [setting.variant, f"{counted(setting.batch_size, 'label')} a round", f"start {setting.initial_choice}"]
    return ", ".join(part for part in parts if part)


def _area(strategy: StrategySummary) -> float:
    return strategy.area.mean if strategy.area is not None else -1.0


class _Axes:
    """From labels and accuracy to places in a panel."""

    def __init__(self, first: float, last: float, low: float, high: float) -> None:
        self.x_ticks = ticks(first, last)
        self.y_ticks = ticks(low, high)
        self.first, self.last = first, max(last, first + 1)
        self.low, self.high = min(low, self.y_ticks[0]), max(high, self.y_ticks[-1])
        if self.high <= self.low:
            self.low, self.high = self.low - 0.05, self.high + 0.05

    def x(self, labels: float) -> float:
        return LEFT + (labels - self.first) / (self.last - self.first) * (WIDTH - LEFT - RIGHT)

    def y(self, accuracy: float) -> float:
        return HEIGHT - BOTTOM - (accuracy - self.low) / (self.high - self.low) * (HEIGHT - TOP - BOTTOM)

    def draw(self) -> Iterator[str]:
        right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
        for tick in self.y_ticks:
            y = self.y(tick)
            yield f'<line x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
            yield _text(LEFT - 6, y + 4, f"{100 * tick:.4g}%", anchor="end")
        for tick in self.x_ticks:
            x = self.x(tick)
            yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 4}" stroke="#444"/>'
            yield _text(x, bottom + 18, f"{tick:.6g}")
        yield f'<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" stroke="#444"/>'
        yield _text((LEFT + right) / 2, bottom + 36, "labels")


def ticks(low: float, high: float) -> list[float]:
    """Round numbers within [low, high], at most seven; ``low`` alone if there is none."""
    span = high - low
    if span <= 0:
        return [low]
    power = 10.0 ** math.floor(math.log10(span / MAX_TICKS))
    step = next(power * factor for factor in (1, 2, 5, 10, 20) if span / (power * factor) <= MAX_TICKS - 1)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)] or [low]


def _curve(strategy: StrategySummary, labels: Sequence[int], axes: _Axes, style: str) -> Iterator[str]:
    known = [(count, e) for count, e in zip(labels, strategy.accuracy, strict=True) if e is not None]
    band = [(count, e.low, e.high) for count, e in known if e.low is not None and e.high is not None]
    if band:
        above = [f"{axes.x(count):.1f},{axes.y(high):.1f}" for count, _, high in band]
        below = [f"{axes.x(count):.1f},{axes.y(low):.1f}" for count, low, _ in reversed(band)]
        fill = style.split(" ", maxsplit=1)[0].replace("stroke", "fill")
        yield f'<polygon points="{" ".join(above + below)}" {fill} fill-opacity="0.12"/>'
    line = " ".join(f"{axes.x(count):.1f},{axes.y(e.mean):.1f}" for count, e in known)
    yield f'<polyline points="{line}" fill="none" stroke-width="1.8" {style}/>'
    if len(known) == 1:
        fill = style.split(" ", maxsplit=1)[0].replace("stroke", "fill")
        yield f'<circle cx="{axes.x(known[0][0]):.1f}" cy="{axes.y(known[0][1].mean):.1f}" r="3" {fill}/>'


def _legend(strategy: StrategySummary, y: float, style: str) -> Iterator[str]:
    text = strategy.strategy
    if strategy.area is not None:
        text += f": {100 * strategy.area.mean:.1f}%"
        if strategy.area.low is not None and strategy.area.high is not None:
            text += f" [{100 * strategy.area.low:.1f}, {100 * strategy.area.high:.1f}]"
        text += f", {counted(strategy.area.seeds, 'seed')}"
    yield f'<line x1="{LEFT}" x2="{LEFT + 34}" y1="{y}" y2="{y}" stroke-width="2.2" {style}/>'
    yield _text(LEFT + 42, y + 4, text, anchor="start")


def _text(x: float, y: float, text: str, anchor: str = "middle", size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(text)}</text>'
