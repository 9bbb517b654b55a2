"""Label Studio's JSON: tasks with ``data`` and ``annotations``, in its export; tasks with ``predictions``, going in.

Observed on version 1.23. Every annotation of a task is an answer. ``was_cancelled`` (skipped) counts before whatever
was chosen; an empty ``result`` was submitted without a choice and is no answer yet.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from urllib.parse import quote

from dalcli.data.table import RowProblem
from dalcli.formats.batch import Sheet
from dalcli.formats.cells import BadCellError, moment
from dalcli.formats.fields import answer_key, listed, one_class, sample_names
from dalcli.formats.json_stream import Item, array_items, as_amount, as_flag, as_object, as_text, objects
from dalcli.formats.labels import LabelFile, LabelRow, ReadOptions
from dalcli.formats.look import Look
from dalcli.formats.source import LabelSource

CONTROL, IMAGE = "label", "image"
"""Names of the control and of the image in the labeling interface that our tasks are made for."""
LOCAL_FILES = "/data/local-files/?d="


class LabelStudio:
    """Its full JSON export, and task lists."""

    description = "Label Studio's JSON: an array of tasks with 'data' and 'annotations'"

    def detect(self, look: Look) -> str | None:
        """The first task has data, and annotations or nothing else that a JSON_MIN has."""
        if look.kind == "array" and isinstance(look.first.get("data"), dict) and "annotations" in look.first:
            return "a JSON array of tasks with 'data' and 'annotations'"
        return None

    def read(self, source: LabelSource, options: ReadOptions) -> LabelFile:
        """One row an annotation; a task without any gives one row without a label."""
        reader = _Reader(options.label_column)
        for item in array_items(source.file()):
            reader.add(item)
        answer_key(source.name, reader.controls, options.label_column, "controls")
        return LabelFile(reader.rows, reader.problems, unit="item")

    def write(self, sheet: Sheet) -> bytes:
        """Tasks to import, the model's guess riding along as a prediction."""
        tasks = (json.dumps(_task(sheet, row), ensure_ascii=False) for row in sheet.rows)
        return ("[\n" + ",\n".join(tasks) + "\n]\n").encode()


class _Reader:
    def __init__(self, control: str | None) -> None:
        self.rows: list[LabelRow] = []
        self.problems: list[RowProblem] = []
        self.controls: dict[str, None] = {}
        self._control = control

    def add(self, item: Item) -> None:
        try:
            task = as_object(item.value)
            data = as_object(task.get("data"))
            ref, aliases = sample_names(data)
            batch = as_text(data.get("batch_id"), "batch_id").strip()
            annotations = objects(task.get("annotations"), "annotations")
        except BadCellError as error:
            self.problems.append(RowProblem(item.number, str(error), "item"))
            return
        if not annotations:
            self.rows.append(LabelRow(item.number, ref, None, aliases=aliases))
        for annotation in annotations:
            try:
                self.rows.append(self._row(item.number, ref, aliases, batch, annotation))
            except BadCellError as error:
                self.problems.append(RowProblem(item.number, str(error), "item"))

    def _row(
        self, number: int, ref: str, aliases: tuple[str, ...], batch: str, annotation: Mapping[str, object]
    ) -> LabelRow:
        skipped = as_flag(annotation.get("was_cancelled"), "was_cancelled")
        return LabelRow(
            line=number,
            sample_ref=ref,
            aliases=aliases,
            label=None if skipped else one_class(list(self._choices(annotation))),
            annotator=annotator(annotation.get("completed_by")),
            seconds=as_amount(annotation.get("lead_time"), "lead_time"),
            labeled_at=when(annotation),
            skipped=skipped,
            batch=batch,
        )

    def _choices(self, annotation: Mapping[str, object]) -> Iterator[object]:
        results = objects(annotation.get("result"), "result")
        answers = [result for result in results if result.get("type") == "choices"]
        if results and not answers:
            types = listed(str(result.get("type")) for result in results)
            raise BadCellError(f"has results of type {types}; only 'choices' are classes")
        for result in answers:
            control = as_text(result.get("from_name"), "from_name")
            chosen = as_object(result.get("value")).get("choices")
            if not isinstance(chosen, list):
                raise BadCellError("a result of type 'choices' has no list of choices")
            self.controls[control] = None
            if self._control in {None, control}:
                yield from chosen


def annotator(value: object) -> str:
    """Who it was: a number from the server, an e-mail from its command line, or an object with either."""
    if isinstance(value, dict):
        value = value.get("email") or value.get("username") or value.get("id")
    return as_text(value, "the annotator").strip()


def when(annotation: Mapping[str, object]) -> str | None:
    """When an annotation was last changed."""
    for key in ("updated_at", "created_at"):
        text = as_text(annotation.get(key), key)
        if text:
            return moment(key, text)
    return None


def _task(sheet: Sheet, row: Mapping[str, str]) -> dict[str, object]:
    kept = {key: row[key] for key in ("sample_id", "path", "batch_id")}
    image = sheet.url(row["path"], LOCAL_FILES + quote(row["path"]))
    task: dict[str, object] = {"data": {"image": image, **kept, "rank": int(row["rank"])}}
    if row["pseudo_label"]:
        guess = {"from_name": CONTROL, "to_name": IMAGE, "type": "choices", "value": {"choices": [row["pseudo_label"]]}}
        prediction: dict[str, object] = {"model_version": sheet.model, "result": [guess]}
        if row["confidence"]:
            prediction["score"] = float(row["confidence"])
        task["predictions"] = [prediction]
    return task
