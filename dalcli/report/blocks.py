"""What a page consists of, whatever it is written as: sections of paragraphs, facts, tables, charts and pictures.

``html`` and ``markdown`` write the same blocks, so neither can say what the other does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dalcli.report.chart import Chart
from dalcli.report.contents import Picture

Tone = Literal["plain", "lead", "missing", "note"]


@dataclass(frozen=True)
class Text:
    """A paragraph; ``missing``: says plainly that something is not known, and why."""

    text: str
    tone: Tone = "plain"


@dataclass(frozen=True)
class Facts:
    """Names with values."""

    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Table:
    """A table whose first column names its rows.

    Attributes:
        words: columns (by position) that hold words; ``codes`` hold short names that are never broken; the others hold
            figures.
        folded: rows from this one on are folded away on a page; None: none are.
        heat: shade of every cell from 0 to 9, by row, without the first column.
        across: what the header stands for, where it is a class for each column.
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: frozenset[int] = frozenset({0})
    codes: frozenset[int] = frozenset()
    folded: int | None = None
    heat: Sequence[Sequence[int]] | None = None
    across: str | None = None


@dataclass(frozen=True)
class Pictures:
    """A contact sheet."""

    pictures: Sequence[Picture]
    left_out: int


Block = Text | Facts | Table | Chart | Pictures


@dataclass(frozen=True)
class Section:
    """A part of the page; ``anchor`` is its id."""

    anchor: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Figure:
    """A figure that is seen first of all."""

    name: str
    value: str
    detail: str


@dataclass(frozen=True)
class Page:
    """The whole page: what it comes to in a sentence, four figures, and the sections.

    ``command``: what to run next; None: nothing.
    """

    title: str
    workspace: str
    dates: str
    tone: Literal["good", "go", "ask", "bad"]
    verdict: str
    reason: str
    command: str | None
    figures: Sequence[Figure]
    sections: Sequence[Section]
