"""Building blocks of what people read on stdout: facts and tables."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from dalcli.cli.streams import one_line, out

if TYPE_CHECKING:
    from rich.console import RenderableType

_NEVER_WRAPPED = 100_000


def text(*parts: RenderableType) -> str:
    """Rich tables as text: coloured and fitted on a terminal, plain and never cut off in a file."""
    from rich.console import Console

    stream = out()
    terminal = stream is not None and stream.isatty()
    buffer = io.StringIO()
    console = Console(
        file=buffer,
        force_terminal=terminal,
        width=None if terminal else _NEVER_WRAPPED,
        soft_wrap=not terminal,
        highlight=False,
        markup=False,  # a class may be called [red] or :cat:
        emoji=False,
    )
    for part in parts:
        console.print(part)
    return "\n".join(line.rstrip() for line in buffer.getvalue().rstrip("\n").split("\n")) + "\n"


def listing(header: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None) -> RenderableType:
    """A table with a header line; None is shown as a dash."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(*header, title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for row in rows:
        table.add_row(*(Text(_cell(cell)) for cell in row))
    return table


def facts(rows: Iterable[tuple[str, object]]) -> RenderableType:
    """Name and value, one pair a line."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for name, value in rows:
        table.add_row(Text(name), Text(_cell(value)))
    return table


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4f}" if isinstance(value, float) else one_line(str(value))


def percent(value: float | None) -> str:
    """0.912 as 91.2%."""
    return "-" if value is None else f"{100 * value:.1f}%"


def counts(states: dict[str, int]) -> str:
    """How many samples, and in which states."""
    total = sum(states.values())
    parts = [f"{count} {state}" for state, count in states.items() if count]
    return f"{total}" + (f" ({', '.join(parts)})" if parts else "")
