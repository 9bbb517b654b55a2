"""A learning curve and its band, drawn in characters: no colour, and ASCII where nothing else can be written."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dalcli.cli.streams import out

Band = Sequence[tuple[float, float, float, float]]
"""x, low, middle, high."""


@dataclass(frozen=True)
class Marks:
    """What things are drawn with."""

    point: str
    middle: str
    band: str
    target: str
    axis: str
    tick: str
    corner: str
    floor: str


UNICODE = Marks(point="●", middle="━", band="░", target="┄", axis="│", tick="┤", corner="└", floor="─")
ASCII = Marks(point="o", middle="-", band=":", target=".", axis="|", tick="+", corner="+", floor="-")
HEIGHT = 11
_NARROWEST, _WIDEST = 40, 100


def marks(encoding: str | None) -> Marks:
    """Those that the stream can write."""
    try:
        "".join(vars(UNICODE).values()).encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE


def terminal_marks() -> Marks:
    """Those of stdout."""
    return marks(getattr(out(), "encoding", None))


def terminal_width() -> int:
    """Of the terminal (or COLUMNS); 80 where there is none."""
    return max(_NARROWEST, min(shutil.get_terminal_size((80, 24)).columns, _WIDEST))


def chart(
    points: Sequence[tuple[float, float]],
    band: Band,
    target: float | None,
    figure: Callable[[float], str],
    width: int,
    drawn: Marks,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> str:
    """Points and band over the logarithm of x, with ``figure`` at the y axis, in lines of at most ``width``.

    ``bounds``: what y can be. A band narrower than a row shows its middle alone.
    """
    xs = [x for x, *_ in points] + [x for x, *_ in band]
    ys = [y for _, y in points] + [y for _, *values in band for y in values] + ([] if target is None else [target])
    if not xs:
        return ""
    bottom, top = _margin(min(ys), max(ys), bounds)
    rows = [bottom + (top - bottom) * (HEIGHT - 1 - row) / (HEIGHT - 1) for row in range(HEIGHT)]
    names = {row: figure(rows[row]) for row in (0, HEIGHT // 2, HEIGHT - 1)}
    if target is not None:
        names = _with_target(names, _row(target, bottom, top), figure(target))
    gutter = max(map(len, names.values()))
    columns = width - gutter - 2
    scale = _Scale(min(xs), max(xs), columns)
    cells = [[" "] * columns for _ in range(HEIGHT)]
    if target is not None:
        cells[_row(target, bottom, top)] = [drawn.target] * columns
    for column in range(columns):
        found = _interpolated(band, scale.x(column))
        if found is not None:
            low, middle, high = (_row(value, bottom, top) for value in found)
            for row in range(high, low + 1):
                cells[row][column] = drawn.band
            cells[middle][column] = drawn.middle
    for x, y in points:
        cells[_row(y, bottom, top)][scale.column(x)] = drawn.point
    lines = [
        f"{names.get(row, ''):>{gutter}} {drawn.tick if row in names else drawn.axis}{''.join(cells[row])}".rstrip()
        for row in range(HEIGHT)
    ]
    lines.append(" " * (gutter + 1) + drawn.corner + drawn.floor * columns)
    lines.append(" " * (gutter + 2) + scale.names(points[-1][0] if points else None))
    return "\n".join(lines)


@dataclass(frozen=True)
class _Scale:
    """The logarithmic x axis."""

    first: float
    last: float
    columns: int

    def column(self, x: float) -> int:
        if self.last <= self.first:
            return 0
        share = math.log(x / self.first) / math.log(self.last / self.first)
        return max(0, min(round(share * (self.columns - 1)), self.columns - 1))

    def x(self, column: int) -> float:
        return float(self.first * (self.last / self.first) ** (column / max(self.columns - 1, 1)))

    def names(self, today: float | None) -> str:
        """First and last x, today's, and one between, where there is room."""
        line = [" "] * self.columns
        wanted = [(self.first, 0), (self.last, self.columns)]
        if today is not None:
            wanted.append((today, self.column(today)))
        wanted += [(value, self.column(value)) for value in _round_numbers(self.first, self.last)]
        for value, column in wanted:
            name = f"{value:,.0f}"
            start = max(0, min(column - len(name) // 2, self.columns - len(name)))
            around = line[max(start - 2, 0) : start + len(name) + 2]
            if all(cell == " " for cell in around):
                line[start : start + len(name)] = name
        return "".join(line).rstrip()


def _round_numbers(first: float, last: float) -> list[float]:
    """1, 2 and 5 times powers of ten between both."""
    powers = range(math.floor(math.log10(max(first, 1))), math.ceil(math.log10(max(last, 1))) + 1)
    return [step * 10.0**power for power in powers for step in (1, 2, 5) if first < step * 10.0**power < last]


def _margin(low: float, high: float, bounds: tuple[float, float]) -> tuple[float, float]:
    """Some room above and below, within what the values can be."""
    room = 0.05 * (high - low) or 0.02
    return max(low - room, bounds[0]), min(high + room, bounds[1])


def _row(value: float, bottom: float, top: float) -> int:
    share = (value - bottom) / (top - bottom)
    return max(0, min(HEIGHT - 1, round((HEIGHT - 1) * (1 - share))))


def _with_target(names: dict[int, str], row: int, name: str) -> dict[int, str]:
    """The target's name on its row, without names so near that both would be read as one."""
    return {other: text for other, text in names.items() if abs(other - row) > 1} | {row: name}


def _interpolated(band: Band, x: float) -> tuple[float, float, float] | None:
    if not band or not band[0][0] * 0.999 <= x <= band[-1][0] * 1.001:
        return None
    right = next((i for i, point in enumerate(band) if point[0] >= x), len(band) - 1)
    if right == 0:
        return band[0][1:]
    before, after = band[right - 1], band[right]
    share = math.log(x / before[0]) / math.log(after[0] / before[0]) if after[0] > before[0] else 1.0
    low, middle, high = (a + share * (b - a) for a, b in zip(before[1:], after[1:], strict=True))
    return low, middle, high
