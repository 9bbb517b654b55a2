"""Delimited text tables: read as spreadsheets, scripts and labeling tools write them, written as all of them read.

Comma, semicolon, tab or ``|`` (whichever the header uses most, or a first line ``sep=;`` says); quoted cells may
contain delimiters and line breaks. Every cell stays the text it is: ``000001``, ``1e5`` and ``NA`` are names here.
Column names are compared without case and surrounding spaces. Blank rows are skipped, and so are columns without a name
and empty cells behind the last column.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from dalcli.config.words import counted, did_you_mean
from dalcli.data.text import TextInput
from dalcli.errors import BadInputError

_DELIMITERS = (",", ";", "\t", "|")
# What Excel reads as "columns are told apart by this", and may write back with empty columns behind it.
_SEPARATOR_LINE = re.compile(r'\s*"?sep=([,;\t|])"?[,;\t|]*\s*', re.IGNORECASE)
# Python's default of 131,072 characters is less than an image mask that a labeling tool puts into a cell.
_CELL_LIMIT = 1 << 24


@dataclass(frozen=True)
class RowProblem:
    """Why one row cannot be used.

    ``line`` is the first physical line of the row, from 1, or the number of what ``unit`` says (item, row); 0 is
    nowhere in particular. ``part`` is the file inside a folder or archive ('' if there is just one).
    """

    line: int
    reason: str
    unit: str = "line"
    part: str = ""

    def __str__(self) -> str:
        place = ", ".join(filter(None, (self.part, f"{self.unit} {self.line}" if self.line else "")))
        return f"{place}: {self.reason}" if place else self.reason


@dataclass(frozen=True, slots=True)
class Record:
    """One row: its cells by normalised column name, or what is wrong with its shape (then without cells)."""

    line: int
    cells: dict[str, str]
    problem: str | None = None


class TextTable:
    """A table whose header has been read and whose records can be streamed, once."""

    def __init__(self, name: str, delimiter: str, header: Sequence[str], records: Iterator[Record]) -> None:
        self.name = name
        self.delimiter = delimiter
        self.header = tuple(cell.strip() for cell in header if cell.strip())
        self.columns = tuple(cell.casefold() for cell in self.header)
        self._records = records

    def __iter__(self) -> Iterator[Record]:
        return self._records

    def present(self, names: Sequence[str]) -> list[str]:
        """Those of the (lower-case) ``names`` that are columns, in the order of ``names``."""
        return [name for name in names if name in self.columns]

    def only(self, names: Sequence[str]) -> str | None:
        """The one column out of ``names`` that is there, None if there is none, BadInputError if several are."""
        present = self.present(names)
        if len(present) > 1:
            raise BadInputError(
                f"{self.name}: columns {_listed(present)} mean the same.", "Keep one of them and rename the others."
            )
        return present[0] if present else None

    def lacks(self, names: Sequence[str]) -> BadInputError:
        """The error to raise if none of ``names`` is a column: what there is, what is needed, likely typos."""
        needed = f"a column {_listed(names[:1])}" if len(names) == 1 else f"one of the columns {_listed(names)}"
        remedy = f"It needs {needed}{self._likely_typo(names)}."
        if len(self.columns) == 1:
            remedy += " Columns are told apart by comma, semicolon, tab or |."
        return BadInputError(f"{self.name}: found the columns {_listed(self.header)}.", remedy)

    def _likely_typo(self, names: Sequence[str]) -> str:
        for original, column in zip(self.header, self.columns, strict=True):
            guess = did_you_mean(column, names)
            if guess is not None:
                return f" (is {original!r} meant to be {guess!r}?)"
        return ""


def read_table(source: TextInput) -> TextTable:
    """Read the header of a table; its records follow when iterated.

    Raises:
        BadInputError: empty, wrong encoding, a column twice; while iterating: wrong encoding, quotes that do not
            match, or no row at all. A row with too few or too many cells is a record with a ``problem``.
    """
    if csv.field_size_limit() < _CELL_LIMIT:
        csv.field_size_limit(_CELL_LIMIT)
    lines = source.lines()
    start = _header_lines(lines)
    told = _SEPARATOR_LINE.fullmatch(start[-1]) if start else None
    skipped = len(start) if told is not None else 0
    if told is not None:
        start = _header_lines(lines)
    if not start or not start[-1].strip():
        raise BadInputError(f"{source.name} is empty.", "It needs a header line and at least one row.")
    delimiter = told[1] if told is not None else _delimiter("".join(start))
    rows = ((line + skipped, cells) for line, cells in _rows(source.name, chain(start, lines), delimiter, skipped))
    _, header = next(rows, (1, []))
    header = [cell.strip("\ufeff \t\r\n") for cell in header]  # files put together keep a mark in the middle
    _check_header(source.name, header)
    return TextTable(source.name, delimiter, header, _records(source.name, header, rows))


def _header_lines(lines: Iterator[str]) -> list[str]:
    """Blank lines, then all lines of the header (more than one if a quoted name contains a line break)."""
    start: list[str] = []
    for line in lines:
        start.append(line)
        if line.strip() and sum(part.count('"') for part in start) % 2 == 0:
            break
    return start


def _delimiter(header: str) -> str:
    """The delimiter that occurs most outside quotes; a single column has none and is read with commas."""
    outside_quotes = "".join(header.split('"')[::2])
    return max(_DELIMITERS, key=outside_quotes.count)


def _rows(name: str, lines: Iterator[str], delimiter: str, skipped: int) -> Iterator[tuple[int, list[str]]]:
    """First physical line and cells of every row that is not blank; ``skipped`` lines came before."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise BadInputError(f"{name}, line {line + skipped}: {_quoting_reason(error)}.") from None
        if any(cell.strip() for cell in cells):
            yield line, cells


def _quoting_reason(error: csv.Error) -> str:
    text = str(error)
    if "unexpected end" in text:
        return "a quoted cell is never closed"
    if "field larger" in text:
        return f"a cell is longer than {_CELL_LIMIT:,} characters (is a quote never closed?)"
    return f"badly quoted: {text}"


def _check_header(name: str, header: Sequence[str]) -> None:
    columns = [cell.strip().casefold() for cell in header]
    twice = sorted({column for column in columns if column and columns.count(column) > 1})
    if twice:
        raise BadInputError(f"{name}: the header names {_listed(twice)} twice.", "Remove or rename one of the columns.")


def _records(name: str, header: Sequence[str], rows: Iterator[tuple[int, list[str]]]) -> Iterator[Record]:
    columns = [cell.strip().casefold() for cell in header]
    named = max((index for index, column in enumerate(columns, 1) if column), default=0)
    is_empty = True
    for line, cells in rows:
        is_empty = False
        if len(cells) != len(columns) and (len(cells) < named or any(cell.strip() for cell in cells[len(columns) :])):
            yield Record(line, {}, f"has {counted(len(cells), 'cell')} where the header has {len(columns)}")
        else:
            yield Record(line, {column: cell for column, cell in zip(columns, cells, strict=False) if column})
    if is_empty:
        raise BadInputError(f"{name} has a header but no rows.")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Comma-separated values: lines end with ``\\n``, cells are quoted only where needed, None is an empty cell."""
    return "".join(_csv_line(cells) for cells in chain([header], rows))


def _csv_line(cells: Iterable[object]) -> str:
    buffer = io.StringIO()
    # Told to end lines so, the writer also quotes a lone carriage return, which readers take for the end of a row.
    csv.writer(buffer, lineterminator="\r\n").writerow(["" if cell is None else cell for cell in cells])
    return buffer.getvalue()[:-2] + "\n"
