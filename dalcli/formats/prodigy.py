"""Prodigy's JSON lines: tasks with ``options``; answered, with ``accept`` (or ``label``) and ``answer`` beside them.

``answer`` counts before what was chosen: "ignore" is skipped, and so is "reject" where a class was to be chosen; where
one ``label`` was to be confirmed, "reject" does not say which class it is, so there is no answer yet. A dataset only
grows at its end, so the later line of one annotator counts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from dalcli.data.table import RowProblem
from dalcli.formats.batch import Sheet
from dalcli.formats.cells import BadCellError
from dalcli.formats.fields import one_class, sample_names
from dalcli.formats.json_stream import Item, as_object, as_text, json_lines, objects
from dalcli.formats.labels import LabelFile, LabelRow, ReadOptions
from dalcli.formats.look import Look
from dalcli.formats.source import LabelSource


class Prodigy:
    """``prodigy db-out``, and tasks for its ``choice`` interface."""

    description = "Prodigy's JSON lines with 'answer' and 'accept' or 'options'"

    def detect(self, look: Look) -> str | None:
        """The first line has an answer, and what was accepted or offered."""
        if look.kind == "lines" and "answer" in look.first and {"accept", "options", "label"} & look.first.keys():
            return "JSON lines with 'answer' and 'accept', 'options' or 'label'"
        return None

    def read(self, source: LabelSource, options: ReadOptions) -> LabelFile:
        """One row a line."""
        rows: list[LabelRow] = []
        problems: list[RowProblem] = []
        for item in json_lines(source.file()):
            try:
                rows.append(_row(item, as_object(item.value)))
            except BadCellError as error:
                problems.append(RowProblem(item.number, str(error)))
        return LabelFile(rows, problems, in_order=True)

    def write(self, sheet: Sheet) -> bytes:
        """Tasks; the model's guess is shown below the image, and nothing is chosen."""
        options = [{"id": name, "text": name} for name in sheet.classes]
        return "".join(json.dumps(_task(sheet, row, options), ensure_ascii=False) + "\n" for row in sheet.rows).encode()


def _task(sheet: Sheet, row: Mapping[str, str], options: list[dict[str, str]]) -> dict[str, object]:
    meta: dict[str, object] = {"batch": row["batch_id"]}
    if row["pseudo_label"]:
        meta["guess"] = row["pseudo_label"]
    image = sheet.url(row["path"], row["path"])
    return {"image": image, "options": options, "sample_id": row["sample_id"], "path": row["path"], "meta": meta}


def _row(item: Item, task: Mapping[str, object]) -> LabelRow:
    answer = as_text(task.get("answer"), "answer")
    if answer not in {"accept", "reject", "ignore", ""}:
        raise BadCellError(f"answer {answer[:20]!r} is none of accept, reject, ignore")
    to_choose = "accept" in task or "options" in task
    skipped = answer == "ignore" or (answer == "reject" and to_choose)
    ref, aliases = _names(task)
    time = task.get("_timestamp")
    return LabelRow(
        line=item.number,
        sample_ref=ref,
        aliases=aliases,
        without_extension=True,
        label=_label(task, to_choose) if answer == "accept" else None,
        annotator=as_text(task.get("_annotator_id") or task.get("_session_id"), "_annotator_id").strip(),
        labeled_at=None if time is None else _moment(time),
        skipped=skipped,
    )


def _label(task: Mapping[str, object], to_choose: bool) -> str | None:
    if not to_choose:
        return as_text(task.get("label"), "label").strip() or None
    accepted = task.get("accept", [])
    if not isinstance(accepted, list):
        raise BadCellError("accept is no list")
    # Ids may be numbers that stand for the text that was shown.
    shown = {json.dumps(option.get("id")): option.get("text") for option in objects(task.get("options"), "options")}
    return one_class([shown.get(json.dumps(i)) or i if isinstance(i, int) else i for i in accepted])


def _names(task: Mapping[str, object]) -> tuple[str, tuple[str, ...]]:
    """As other tools'; or the name without extension that Prodigy keeps of an image that it wrote into the task."""
    try:
        return sample_names({key: value for key, value in task.items() if key not in {"text", "answer", "label"}})
    except BadCellError:
        stem = as_text(task.get("text"), "text")
        if not stem.strip():
            raise
        return stem, ()


def _moment(seconds: object) -> str:
    try:
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise ValueError
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        raise BadCellError(f"_timestamp {str(seconds)[:40]!r} is no number of seconds since 1970") from None
