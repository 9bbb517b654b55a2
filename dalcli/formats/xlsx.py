"""The spreadsheet that was filled in, as it was saved: .xlsx, with the columns of our table.

Cells have types there, so what a spreadsheet did to a name can be seen: a date where a name should be is refused. The
first visible sheet that has the columns is read. Read here rather than through openpyxl, which takes 11 seconds to
walk through 100,000 rows of ten columns that are labels here in 4; the tests read what openpyxl writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta

from dalcli.data.manifest import PATH_COLUMNS
from dalcli.data.table import Record, TextTable
from dalcli.errors import BadInputError
from dalcli.formats.labels import LabelFile, ReadOptions
from dalcli.formats.look import Look
from dalcli.formats.plain import missing_column, read_rows
from dalcli.formats.source import Archive, LabelSource
from dalcli.formats.workbook import BOOK, Unusable, Workbook

_TEXTS = frozenset({"label", "sample_id", "annotator", *PATH_COLUMNS})
_USED = _TEXTS | {"cost", "seconds", "labeled_at", "skipped"}


class Xlsx:
    """An Excel workbook with the columns of our table."""

    description = "an .xlsx workbook with the columns of a CSV"

    def detect(self, look: Look) -> str | None:
        """An archive that holds a workbook."""
        return f"an archive with {BOOK}" if look.kind == "archive" and BOOK in look.files else None

    def read(self, source: LabelSource, options: ReadOptions) -> LabelFile:
        """One row a row."""
        if not isinstance(source.members, Archive):
            raise BadInputError(f"{source.name} is no .xlsx workbook.", "Save it as .xlsx, or as 'CSV UTF-8'.")
        label = (options.label_column or "label").strip().casefold()
        return read_rows(_table(source.name, Workbook(source.name, source.members), label), options, unit="row")


def _table(name: str, book: Workbook, label: str) -> TextTable:
    """The first sheet that has the columns."""
    lacking: BadInputError | None = None
    for sheet in book.sheets:
        table = _sheet_table(name, _filled(book.rows(sheet)), label)
        missing = missing_column(table, label)
        if missing is None:
            return table
        lacking = lacking or missing
    raise lacking or BadInputError(f"{name} has no sheets.")


def _filled(rows: Iterator[tuple[int, Sequence[object]]]) -> Iterator[tuple[int, Sequence[object]]]:
    return (row for row in rows if any(cell is not None and cell != "" for cell in row[1]))


def _sheet_table(name: str, rows: Iterator[tuple[int, Sequence[object]]], label: str) -> TextTable:
    _, header = next(rows, (0, ()))
    names = ["" if cell is None else _text(cell).strip() for cell in header]
    columns = [column.casefold() for column in names]
    twice = sorted({column for column in columns if column and columns.count(column) > 1})
    if twice:
        raise BadInputError(f"{name}: the header names {twice[0]!r} twice.", "Remove or rename one of the columns.")
    used = [(index, column) for index, column in enumerate(columns) if column in _USED or column == label]
    return TextTable(name, "\t", names, (_record(number, used, cells, label) for number, cells in rows))


def _record(number: int, used: Sequence[tuple[int, str]], cells: Sequence[object], label: str) -> Record:
    texts: dict[str, str] = {}
    for index, column in used:
        cell = cells[index] if index < len(cells) else None
        if cell is None:
            texts[column] = ""
            continue
        if isinstance(cell, date | timedelta) and (column in _TEXTS or column == label):
            reason = f"{column} is a date ({cell}): a spreadsheet has made it of a text"
            return Record(number, {}, f"{reason}; format the column as text and enter it again")
        if isinstance(cell, Unusable):
            return Record(number, {}, f"{column} {cell}")
        texts[column] = _text(cell)
    return Record(number, texts)


def _text(cell: object) -> str:
    if isinstance(cell, bool):
        return str(cell).upper()
    return cell.isoformat() if isinstance(cell, datetime) else str(cell)
