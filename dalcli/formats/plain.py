"""Labels as a plain table: a ``label`` column and one that names the sample. Our own batches come back this way.

Columns that are used: ``label`` (or the one that ``--label-column`` names); ``sample_id``, ``path``, ``image``,
``file_name`` or ``filename``; and, if present, ``annotator``, ``cost``, ``seconds``, ``labeled_at``, ``skipped``,
``batch_id``. All others are ignored.
"""

from __future__ import annotations

from dataclasses import dataclass

from dalcli.data.identity import is_sample_id
from dalcli.data.manifest import PATH_COLUMNS
from dalcli.data.table import Record, RowProblem, TextTable, read_table
from dalcli.errors import BadInputError
from dalcli.formats.cells import BadCellError, amount, flag, moment, spreadsheet_damage, unguarded
from dalcli.formats.fields import NAMELESS
from dalcli.formats.labels import LabelFile, LabelRow, ReadOptions
from dalcli.formats.look import Look
from dalcli.formats.source import LabelSource


@dataclass(frozen=True)
class PlainTable:
    """CSV or TSV with a header line; ``delimiters`` are those by which it goes by this name."""

    delimiters: str
    description: str

    def detect(self, look: Look) -> str | None:
        """Any table: what is wrong with its columns is better said by reading it."""
        if look.kind != "table" or (look.delimiter or ",") not in self.delimiters:
            return None
        used = [column for column in ("label", "sample_id", *PATH_COLUMNS) if column in look.columns]
        return f"a table with {' and '.join(map(repr, used[:2]))}" if used else "a table"

    def read(self, source: LabelSource, options: ReadOptions) -> LabelFile:
        """Read all rows; BadInputError if there is no such column or the text is damaged."""
        return read_rows(read_table(source.file()), options)


def read_rows(table: TextTable, options: ReadOptions, *, unit: str = "line", part: str = "") -> LabelFile:
    """The rows of a table, from wherever it comes.

    Raises:
        BadInputError: it lacks a column that is needed.
    """
    label = (options.label_column or "label").strip().casefold()
    reader = _RowReader(label, _path_column(table, label), part, decimal_comma=table.delimiter != ",")
    rows: list[LabelRow] = []
    problems: list[RowProblem] = []
    for record in table:
        try:
            rows.append(reader.read(record))
        except BadCellError as error:
            problems.append(RowProblem(record.line, str(error), unit, part))
    return LabelFile(rows, problems, unit=unit)


def missing_column(table: TextTable, label: str) -> BadInputError | None:
    """What a table lacks to be a table of labels; None if nothing."""
    if label not in table.columns:
        error = table.lacks([label])
        return BadInputError(error.message, f"{error.remedy} Another one holds the labels? --label-column NAME.")
    if not table.present(["sample_id", *PATH_COLUMNS]):
        return table.lacks(["sample_id", *PATH_COLUMNS])
    return None


def _path_column(table: TextTable, label: str) -> str | None:
    """The column that names samples where there is no sample id; checks that what is needed is there."""
    lacking = missing_column(table, label)
    if lacking is not None:
        raise lacking
    columns = [column for column in PATH_COLUMNS if column != label]
    return next(iter(table.present(columns)), None) if "sample_id" in table.columns else table.only(columns)


@dataclass(frozen=True)
class _RowReader:
    label: str
    path_column: str | None
    part: str
    decimal_comma: bool

    def read(self, record: Record) -> LabelRow:
        if record.problem is not None:
            raise BadCellError(record.problem)
        cells = record.cells
        skipped = flag("skipped", cells.get("skipped", ""))
        written = cells.get(self.path_column or "", "")
        path = unguarded(written)
        sample_ref = _sample_ref(cells.get("sample_id", ""), path)
        return LabelRow(
            line=record.line,
            sample_ref=sample_ref,
            aliases=() if path == written or is_sample_id(sample_ref) else (written,),
            path=path if is_sample_id(sample_ref) else "",
            label=None if skipped else unguarded(cells.get(self.label, "").strip("\ufeff").strip()) or None,
            annotator=unguarded(cells.get("annotator", "").strip()),
            cost=amount("cost", cells.get("cost", ""), decimal_comma=self.decimal_comma),
            seconds=amount("seconds", cells.get("seconds", ""), decimal_comma=self.decimal_comma),
            labeled_at=moment("labeled_at", cells.get("labeled_at", "")),
            skipped=skipped,
            part=self.part,
            batch=cells.get("batch_id", "").strip(),
        )


def _sample_ref(written: str, path: str) -> str:
    identity = written.strip("\ufeff").strip().lower()
    if is_sample_id(identity):
        return identity
    if identity:
        damage = spreadsheet_damage(written.strip())
        hint = f": {damage}; give the path, or the file as `query` wrote it" if damage else ""
        raise BadCellError(f"sample_id {written.strip()!r} is not 's-' and 32 hexadecimal digits{hint}")
    if not path.strip("\ufeff").strip():
        raise BadCellError(NAMELESS)
    return path
