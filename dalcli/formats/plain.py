"""Labels as a plain table: a ``label`` column and one that names the sample. Our own batches come back this way.

Columns that are used: ``label``; ``sample_id``, ``path``, ``image``, ``file_name`` or ``filename``; and, if
present, ``annotator``, ``cost``, ``seconds``, ``labeled_at``, ``skipped``, ``batch_id``. All others are ignored.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass

from dalcli.data.identity import is_sample_id
from dalcli.data.manifest import PATH_COLUMNS
from dalcli.data.table import Record, RowProblem, TextTable, read_table
from dalcli.data.text import TextInput
from dalcli.formats.cells import BadCellError, amount, flag, moment
from dalcli.formats.labels import LabelFile, LabelRow

_STARTS_OF_OTHER_FORMATS = (b"{", b"[", b"<")


class PlainTable:
    """CSV or TSV with a header line."""

    description = "a CSV or TSV table with the columns 'label' and one of 'sample_id', 'path', 'image', 'file_name'"

    def detect(self, head: bytes) -> bool:
        """Anything that is not JSON or XML: what is wrong with a table is better said by reading it."""
        return not head.removeprefix(codecs.BOM_UTF8).lstrip().startswith(_STARTS_OF_OTHER_FORMATS)

    def read(self, source: TextInput) -> LabelFile:
        """Read all rows; BadInputError if there is no such column or the text is damaged."""
        table = read_table(source)
        reader = _RowReader(_path_column(table), decimal_comma=table.delimiter != ",")
        rows: list[LabelRow] = []
        problems: list[RowProblem] = []
        for record in table:
            try:
                rows.append(reader.read(record))
            except BadCellError as error:
                problems.append(RowProblem(record.line, str(error)))
        return LabelFile(rows, problems)


def _path_column(table: TextTable) -> str | None:
    """The column that names samples where there is no sample id; checks that what is needed is there."""
    if "label" not in table.columns:
        raise table.lacks(["label"])
    if "sample_id" in table.columns:
        return next(iter(table.present(PATH_COLUMNS)), None)
    path_column = table.only(PATH_COLUMNS)
    if path_column is None:
        raise table.lacks(["sample_id", *PATH_COLUMNS])
    return path_column


@dataclass(frozen=True)
class _RowReader:
    path_column: str | None
    decimal_comma: bool

    def read(self, record: Record) -> LabelRow:
        if record.problem is not None:
            raise BadCellError(record.problem)
        cells = record.cells
        skipped = flag("skipped", cells.get("skipped", ""))
        sample_ref = self._sample_ref(cells)
        path = cells[self.path_column] if self.path_column is not None else ""
        return LabelRow(
            line=record.line,
            sample_ref=sample_ref,
            path=path if is_sample_id(sample_ref) else "",
            label=None if skipped else cells["label"].strip() or None,
            annotator=cells.get("annotator", "").strip(),
            cost=amount("cost", cells.get("cost", ""), decimal_comma=self.decimal_comma),
            seconds=amount("seconds", cells.get("seconds", ""), decimal_comma=self.decimal_comma),
            labeled_at=moment("labeled_at", cells.get("labeled_at", "")),
            skipped=skipped,
            batch=cells.get("batch_id", "").strip(),
        )

    def _sample_ref(self, cells: dict[str, str]) -> str:
        identity = cells.get("sample_id", "").strip().lower()
        if is_sample_id(identity):
            return identity
        if identity:
            written = cells["sample_id"].strip()
            raise BadCellError(f"sample_id {written!r} is not 's-' and 32 hexadecimal digits")
        path = cells[self.path_column] if self.path_column is not None else ""
        if not path.strip():
            raise BadCellError("names no sample: neither a sample_id nor a path")
        return path
