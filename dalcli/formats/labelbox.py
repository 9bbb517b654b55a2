"""Labelbox: data rows with our sample id as ``global_key``, going in; NDJSON with ``data_row`` and ``projects``, back.

Answers are radio classifications; several questions need ``--label-column QUESTION``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from dalcli.data.identity import is_sample_id
from dalcli.data.table import RowProblem
from dalcli.formats.batch import Sheet
from dalcli.formats.cells import BadCellError, moment
from dalcli.formats.fields import NAMELESS, answer_key, one_class
from dalcli.formats.json_stream import Item, as_amount, as_flag, as_object, as_text, json_lines, objects
from dalcli.formats.labels import LabelFile, LabelRow, ReadOptions
from dalcli.formats.look import Look
from dalcli.formats.source import LabelSource


class Labelbox:
    """Its NDJSON export, and JSON of data rows."""

    description = "Labelbox's NDJSON with 'data_row' and 'projects'"

    def detect(self, look: Look) -> str | None:
        """The first line has both."""
        if look.kind == "lines" and {"data_row", "projects"} <= look.first.keys():
            return "JSON lines with 'data_row' and 'projects'"
        return None

    def read(self, source: LabelSource, options: ReadOptions) -> LabelFile:
        """One row a label; a data row without any gives one row without a label."""
        reader = _Reader(options.label_column)
        for item in json_lines(source.file()):
            reader.add(item)
        answer_key(source.name, reader.questions, options.label_column, "questions")
        return LabelFile(reader.rows, reader.problems)

    def write(self, sheet: Sheet) -> bytes:
        """Data rows; without ``--image-url`` their addresses are bare paths."""
        rows = (
            {
                "row_data": sheet.url(row["path"], row["path"]),
                "global_key": row["sample_id"],
                "external_id": row["path"],
            }
            | {"media_type": "IMAGE"}
            for row in sheet.rows
        )
        return ("[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n").encode()


class _Reader:
    def __init__(self, question: str | None) -> None:
        self.rows: list[LabelRow] = []
        self.problems: list[RowProblem] = []
        self.questions: dict[str, None] = {}
        self._question = question

    def add(self, item: Item) -> None:
        try:
            line = as_object(item.value)
            ref, aliases = _names(as_object(line.get("data_row")))
            projects = as_object(line.get("projects"))
            labels = [label for key in projects for label in objects(as_object(projects[key]).get("labels"), "labels")]
        except BadCellError as error:
            self.problems.append(RowProblem(item.number, str(error)))
            return
        if not labels:
            self.rows.append(LabelRow(item.number, ref, None, aliases=aliases))
        for label in labels:
            try:
                self.rows.append(self._row(item.number, ref, aliases, label))
            except BadCellError as error:
                self.problems.append(RowProblem(item.number, str(error)))

    def _row(self, number: int, ref: str, aliases: tuple[str, ...], label: Mapping[str, object]) -> LabelRow:
        details = as_object(label.get("label_details") or {})
        performance = as_object(label.get("performance_details") or {})
        skipped = as_flag(performance.get("skipped"), "skipped")
        time = as_text(details.get("updated_at") or details.get("created_at"), "created_at")
        return LabelRow(
            line=number,
            sample_ref=ref,
            aliases=aliases,
            label=None if skipped else one_class(list(self._answers(label))),
            annotator=as_text(details.get("created_by"), "created_by").strip(),
            seconds=as_amount(performance.get("seconds_to_create"), "seconds_to_create"),
            labeled_at=moment("created_at", time),
            skipped=skipped,
        )

    def _answers(self, label: Mapping[str, object]) -> Iterator[object]:
        annotations = as_object(label.get("annotations") or {})
        for classification in objects(annotations.get("classifications"), "classifications"):
            question = as_text(classification.get("name"), "name")
            self.questions[question] = None
            if self._question not in {None, question}:
                continue
            several = objects(classification.get("checklist_answers"), "checklist_answers")
            radio = classification.get("radio_answer")
            for answer in [*several, *([] if radio is None else [as_object(radio)])]:
                yield answer.get("name") or answer.get("value")


def _names(row: Mapping[str, object]) -> tuple[str, tuple[str, ...]]:
    names = [as_text(row.get(key), key) for key in ("global_key", "external_id", "row_data")]
    names = [name for name in names if name.strip()]
    if not names:
        raise BadCellError(NAMELESS)
    if is_sample_id(names[0].strip().lower()):
        return names[0].strip().lower(), ()
    return names[0], tuple(names[1:])
