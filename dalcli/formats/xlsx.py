"""The spreadsheet that was filled in, as it was saved: .xlsx, through openpyxl (``pip install 'dalcli[xlsx]'``).

Cells have types there, so what a spreadsheet did to a name can be seen: a date where a name should be is refused. The
first visible sheet that has the columns is read.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any

from dalcli.data.manifest import PATH_COLUMNS
from dalcli.data.table import Record, TextTable
from dalcli.errors import BadInputError
from dalcli.formats.cells import spreadsheet_damage
from dalcli.formats.labels import LabelFile, ReadOptions
from dalcli.formats.look import Look
from dalcli.formats.plain import missing_column, read_rows
from dalcli.formats.source import Archive, LabelSource
from dalcli.formats.xml_stream import elements

_BOOK = "xl/workbook.xml"
_MOST_BYTES = 1 << 30
_MOST_STRINGS = 1 << 28
_TEXTS = frozenset({"label", "sample_id", "annotator", *PATH_COLUMNS})
_OTHERS = {
    "mimetype": "an OpenDocument file",
    "xl/workbook.bin": "a binary Excel workbook (.xlsb)",
    "word/document.xml": "a Word document",
}


class Xlsx:
    """An Excel workbook with the columns of our table."""

    description = "an .xlsx workbook with the columns of a CSV"

    def detect(self, look: Look) -> str | None:
        """An archive that holds a workbook."""
        return f"an archive with {_BOOK}" if look.kind == "archive" and _BOOK in look.files else None

    def read(self, source: LabelSource, options: ReadOptions) -> LabelFile:
        """One row a row."""
        archive = _archive(source)
        label = (options.label_column or "label").strip().casefold()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about styles that openpyxl does not know: nothing is lost with them
            return read_rows(_table(source.name, archive, label), options, unit="row")


def _archive(source: LabelSource) -> Archive:
    """The workbook, once all of it is known to be harmless."""
    archive = source.members
    if not isinstance(archive, Archive) or _BOOK not in archive.names:
        other = next((what for name, what in _OTHERS.items() if archive and name in archive.names), "no .xlsx workbook")
        raise BadInputError(f"{source.name} is {other}.", "Save it as .xlsx, or as 'CSV UTF-8'.")
    sizes = {info.filename: info.file_size for info in archive.zip.infolist()}
    if sum(sizes.values()) > _MOST_BYTES or sizes.get("xl/sharedStrings.xml", 0) > _MOST_STRINGS:
        raise BadInputError(
            f"{source.name} unpacks to {sum(sizes.values()):,} bytes: refused.", "Save it as CSV UTF-8."
        )
    for name in archive.names:
        if name.endswith((".xml", ".rels")):
            next(elements(archive.text(name)), None)  # the first element comes after a DOCTYPE, which is refused
    return archive


def _table(name: str, archive: Archive, label: str) -> TextTable:
    """The first sheet that has the columns."""
    try:
        import openpyxl
    except ModuleNotFoundError:
        raise BadInputError(
            f"{name} is an .xlsx workbook, which needs openpyxl to be read.",
            "Run pip install 'dalcli[xlsx]', or save it as 'CSV UTF-8'.",
        ) from None
    try:
        book = openpyxl.load_workbook(archive.zip.fp, read_only=True, data_only=True)
        sheets = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"] or book.worksheets
    except Exception as error:  # whatever a damaged workbook makes openpyxl stumble over
        raise _damaged(name, error) from None
    lacking: BadInputError | None = None
    for sheet in sheets:
        table = _sheet_table(name, sheet)
        missing = missing_column(table, label)
        if missing is None:
            return table
        lacking = lacking or missing
    raise lacking or BadInputError(f"{name} has no sheets.")


def _damaged(name: str, error: Exception) -> BadInputError:
    return BadInputError(f"{name} is a damaged workbook: {type(error).__name__}: {error}.", "Save it again as .xlsx.")


def _sheet_table(name: str, sheet: Any) -> TextTable:
    rows = _rows(name, sheet)
    _, header = next(rows, (0, ()))
    names = ["" if cell is None else str(cell).strip() for cell in header]
    columns = [column.casefold() for column in names]
    twice = sorted({column for column in columns if column and columns.count(column) > 1})
    if twice:
        raise BadInputError(f"{name}: the header names {twice[0]!r} twice.", "Remove or rename one of the columns.")
    return TextTable(name, "\t", names, (_record(number, columns, cells) for number, cells in rows))


def _rows(name: str, sheet: Any) -> Iterator[tuple[int, Sequence[object]]]:
    """Number and cells of every row that is not blank."""
    try:
        sheet.reset_dimensions()  # what a file says about its own size cannot be relied on
        for number, cells in enumerate(sheet.iter_rows(values_only=True), start=1):
            if any(cell is not None and cell != "" for cell in cells):
                yield number, cells
    except BadInputError:
        raise
    except Exception as error:
        raise _damaged(name, error) from None


def _record(number: int, columns: Sequence[str], cells: Sequence[object]) -> Record:
    texts: dict[str, str] = dict.fromkeys((column for column in columns if column), "")
    for column, cell in zip(columns, cells, strict=False):
        if not column or cell is None:
            continue
        if column in _TEXTS and isinstance(cell, date | time | timedelta):
            reason = f"{column} is a date ({cell}): a spreadsheet has made it of a text"
            return Record(number, {}, f"{reason}; format the column as text and enter it again")
        texts[column] = _text(cell)
        damage = spreadsheet_damage(texts[column]) if column in {"label", "sample_id"} else None
        if damage is not None and texts[column].startswith("#"):
            return Record(number, {}, f"{column} {texts[column]!r}: {damage}")
    return Record(number, texts)


def _text(cell: object) -> str:
    if isinstance(cell, str):
        return cell
    if isinstance(cell, bool):
        return str(cell).upper()
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15:
        return str(int(cell))
    return cell.isoformat() if isinstance(cell, datetime | date | time) else str(cell)
