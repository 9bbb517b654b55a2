"""A page as Markdown, for mails, wikis and pull requests: the same words and figures, without pictures."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from dalcli.report.blocks import Block, Facts, Page, Pictures, Table, Text
from dalcli.report.text import one_line

ROWS_SHOWN = 60
"""Of a table; the HTML page has them all."""
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~!&])")


def markdown(page: Page) -> str:
    """The whole page."""
    return "\n".join(_lines(page)) + "\n"


def escaped(text: str) -> str:
    """``text`` as words in a line of Markdown, whatever it consists of."""
    return _SPECIAL.sub(r"\\\1", one_line(text))


def _lines(page: Page) -> Iterator[str]:
    yield f"# {escaped(page.title)}"
    yield ""
    yield f"**{escaped(page.verdict)}.** {escaped(page.reason)}"
    yield ""
    if page.command is not None:
        yield f"Next: {_code(page.command)}"
        yield ""
    for figure in page.figures:
        yield f"- {escaped(figure.name)}: **{escaped(figure.value)}** ({escaped(figure.detail)})"
    yield ""
    yield escaped(page.dates)
    for section in page.sections:
        yield ""
        yield f"## {escaped(section.title)}"
        for block in section.blocks:
            yield ""
            yield from _block(block)


def _block(block: Block) -> Iterator[str]:
    if isinstance(block, Text):
        yield escaped(block.text)
    elif isinstance(block, Facts):
        yield from (f"- {escaped(name)}: {escaped(value)}" for name, value in block.rows)
    elif isinstance(block, Table):
        yield from _table(block)
    elif isinstance(block, Pictures):
        for picture in block.pictures:
            said = ", ".join(escaped(line) for line in picture.caption)
            problem = "" if picture.problem is None else f" (cannot be shown: {escaped(picture.problem)})"
            yield f"- {escaped(picture.path)}: {said}{problem}"
        if block.left_out > 0:
            yield f"- {block.left_out:,} more"
    else:
        yield f"{escaped(block.title)}. {escaped(block.description)}"


def _table(table: Table) -> Iterator[str]:
    across = "" if table.across is None else f", {table.across} across"
    yield f"{escaped(table.caption)}{escaped(across)}:"
    yield ""
    yield _row(table.header)
    yield "|" + "|".join(" --- " if column in table.words else " ---: " for column in range(len(table.header))) + "|"
    yield from (_row(cells) for cells in table.rows[:ROWS_SHOWN])
    if len(table.rows) > ROWS_SHOWN:
        yield ""
        yield f"{len(table.rows) - ROWS_SHOWN:,} more rows are in the HTML page."


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(escaped(cell) for cell in cells) + " |"


def _code(text: str) -> str:
    line = one_line(text)
    longest = max((len(run) for run in re.findall(r"`+", line)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence}{line}{fence}" if not longest else f"{fence} {line} {fence}"
