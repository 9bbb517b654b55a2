"""Label Studio's CSV and TSV: the keys of JSON_MIN as columns; skipped tasks are missing, undone ones may be there."""

from __future__ import annotations

import json

from dalcli.data.table import Record, RowProblem, read_table
from dalcli.errors import BadInputError
from dalcli.formats.cells import BadCellError, amount, moment
from dalcli.formats.fields import ANSWER_COLUMNS, answer_key, listed, one_class, sample_names
from dalcli.formats.labels import LabelFile, LabelRow, ReadOptions
from dalcli.formats.look import Look
from dalcli.formats.source import LabelSource

_MARKS = {"annotation_id", "annotator", "lead_time"}
_OWN = frozenset({"id", "created_at", "updated_at", *_MARKS})


class LabelStudioTable:
    """The CSV and TSV exports."""

    description = "Label Studio's CSV or TSV: a table with 'annotation_id', 'annotator' and 'lead_time'"

    def detect(self, look: Look) -> str | None:
        """The header has the columns that the tool adds."""
        if look.kind == "table" and set(look.columns) >= _MARKS:
            return "the header has 'annotation_id', 'annotator' and 'lead_time'"
        return None

    def read(self, source: LabelSource, options: ReadOptions) -> LabelFile:
        """One row a line."""
        table = read_table(source.file())
        wanted = None if options.label_column is None else options.label_column.strip().casefold()
        candidates = table.columns if wanted is not None else table.present(ANSWER_COLUMNS)
        label = answer_key(source.name, candidates, wanted, "columns")
        if label is None:
            raise BadInputError(
                f"{source.name}: found the columns {listed(table.header, 40)}, none of them named like a label.",
                "Say which one holds the class: --label-column NAME.",
            )
        rows: list[LabelRow] = []
        problems: list[RowProblem] = []
        for record in table:
            try:
                rows.append(_row(record, label, decimal_comma=table.delimiter != ","))
            except BadCellError as error:
                problems.append(RowProblem(record.line, str(error)))
        return LabelFile(rows, problems)


def _row(record: Record, label: str, *, decimal_comma: bool) -> LabelRow:
    if record.problem is not None:
        raise BadCellError(record.problem)
    cells = record.cells
    ref, aliases = sample_names({key: cell for key, cell in cells.items() if key not in _OWN and key != label})
    time = cells.get("updated_at", "").strip() or cells.get("created_at", "")
    return LabelRow(
        line=record.line,
        sample_ref=ref,
        aliases=aliases,
        label=one_class(_choices(cells[label].strip())),
        annotator=cells["annotator"].strip(),
        seconds=amount("lead_time", cells["lead_time"], decimal_comma=decimal_comma),
        labeled_at=moment("updated_at", time),
    )


def _choices(cell: str) -> list[object]:
    """The class in a cell; several choices are written as JSON."""
    if cell.startswith('{"choices":'):
        try:
            chosen = json.loads(cell)["choices"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return [cell]
        return chosen if isinstance(chosen, list) else [cell]
    return [cell]
