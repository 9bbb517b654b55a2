"""JSON lines: one object a row, with the keys of our table. Null and '' are not labeled yet."""

from __future__ import annotations

import json
from collections.abc import Mapping

from dalcli.data.identity import is_sample_id
from dalcli.data.manifest import PATH_COLUMNS
from dalcli.data.table import RowProblem
from dalcli.errors import BadInputError
from dalcli.formats.batch import Sheet
from dalcli.formats.cells import BadCellError, amount, flag, moment
from dalcli.formats.fields import NAMELESS, listed
from dalcli.formats.json_stream import Item, as_amount, as_flag, as_object, as_text, json_lines
from dalcli.formats.labels import LabelFile, LabelRow, ReadOptions
from dalcli.formats.look import Look
from dalcli.formats.source import LabelSource


class JsonLines:
    """Objects with a ``label`` and a ``sample_id`` or a path; other keys are ignored."""

    description = "JSON lines with the keys 'label' and one of 'sample_id', 'path', 'image', 'file_name'"

    def detect(self, look: Look) -> str | None:
        """Any JSON lines that are no tool's: what is wrong with their keys is better said by reading them."""
        return f"JSON lines with {listed(look.first, 4)}" if look.kind == "lines" else None

    def read(self, source: LabelSource, options: ReadOptions) -> LabelFile:
        """One row a line."""
        return read_objects(source, options, part="")

    def write(self, sheet: Sheet) -> bytes:
        """The cells of our table; empty ones are null, numbers are numbers."""
        lines = (
            json.dumps({key: _value(key, cell) for key, cell in row.items()}, ensure_ascii=False) for row in sheet.rows
        )
        return "".join(f"{line}\n" for line in lines).encode()


def read_objects(source: LabelSource, options: ReadOptions, part: str) -> LabelFile:
    """The rows of a file of JSON lines; ``part`` is its name in a folder ('' if it is alone)."""
    label = options.label_column or "label"
    rows: list[LabelRow] = []
    problems: list[RowProblem] = []
    for item in json_lines(source.file()):
        try:
            rows.append(_row(item, label, part))
        except BadCellError as error:
            problems.append(RowProblem(item.number, str(error), part=part))
    if not rows and not problems:
        raise BadInputError(f"{source.name} is empty.")
    return LabelFile(rows, problems)


def _value(key: str, cell: str) -> object:
    if not cell:
        return None
    if key == "rank":
        return int(cell)
    return float(cell) if key in {"score", "confidence"} else cell


def _row(item: Item, label: str, part: str) -> LabelRow:
    found = as_object(item.value)
    skipped = _flag(found.get("skipped"))
    if label not in found and not skipped:
        raise BadCellError(f"has no {label!r}, but {listed(found)}")
    ref, path = _names(found)
    return LabelRow(
        line=item.number,
        sample_ref=ref,
        label=None if skipped else as_text(found.get(label), label).strip() or None,
        annotator=as_text(found.get("annotator"), "annotator").strip(),
        cost=_amount(found.get("cost"), "cost"),
        seconds=_amount(found.get("seconds"), "seconds"),
        labeled_at=moment("labeled_at", as_text(found.get("labeled_at"), "labeled_at")),
        skipped=skipped,
        path=path if is_sample_id(ref) else "",
        part=part,
    )


def _names(found: Mapping[str, object]) -> tuple[str, str]:
    path = next((as_text(found[key], key) for key in PATH_COLUMNS if found.get(key) is not None), "")
    written = as_text(found.get("sample_id"), "sample_id").strip()
    if written and not is_sample_id(written.lower()):
        raise BadCellError(f"sample_id {written!r} is not 's-' and 32 hexadecimal digits")
    if not written and not path.strip():
        raise BadCellError(NAMELESS)
    return written.lower() or path, path


def _flag(value: object) -> bool:
    return flag("skipped", value) if isinstance(value, str) else as_flag(value, "skipped")


def _amount(value: object, what: str) -> float | None:
    return amount(what, value) if isinstance(value, str) else as_amount(value, what)
