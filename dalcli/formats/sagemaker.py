"""SageMaker Ground Truth's manifest: a ``source-ref`` a line; once labeled, ``<job>-metadata`` with a ``class-name``.

Other keys pass through a labeling job, so our sample id comes back. What ``human-annotated: no`` labels is a model's
guess, no answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from dalcli.data.table import RowProblem
from dalcli.formats.batch import Sheet
from dalcli.formats.cells import BadCellError, moment
from dalcli.formats.fields import answer_key, sample_names
from dalcli.formats.json_stream import Item, as_object, as_text, json_lines
from dalcli.formats.labels import LabelFile, LabelRow, ReadOptions
from dalcli.formats.look import Look
from dalcli.formats.source import LabelSource

_METADATA = "-metadata"


class SageMaker:
    """Input and output manifests of image classification jobs."""

    description = "a SageMaker Ground Truth manifest: JSON lines with 'source-ref' and '<job>-metadata'"

    def detect(self, look: Look) -> str | None:
        """The first line names its image as they do, and has been through a job."""
        if look.kind == "lines" and "source-ref" in look.first and any(key.endswith(_METADATA) for key in look.first):
            return "JSON lines with 'source-ref' and a '...-metadata'"
        return None

    def read(self, source: LabelSource, options: ReadOptions) -> LabelFile:
        """One row a line."""
        rows: list[LabelRow] = []
        problems: list[RowProblem] = []
        jobs: dict[str, None] = {}
        guesses = 0
        for item in json_lines(source.file()):
            try:
                line = as_object(item.value)
                found = [key.removesuffix(_METADATA) for key in line if key.endswith(_METADATA)]
                jobs |= dict.fromkeys(found)
                job = options.label_column or next(iter(found), "")
                row, guessed = _row(item, line, job)
                rows.append(row)
                guesses += guessed
            except BadCellError as error:
                problems.append(RowProblem(item.number, str(error)))
        answer_key(source.name, jobs, options.label_column, "jobs")
        note = f'{guesses} of its labels are "human-annotated": "no": guesses of a model, not read'
        return LabelFile(rows, problems, notes=(note,) if guesses else ())

    def write(self, sheet: Sheet) -> bytes:
        """An input manifest; without ``--image-url s3://bucket/prefix/`` its references are bare paths."""
        lines = (
            {"source-ref": sheet.url(row["path"], row["path"])}
            | {key: row[key] for key in ("sample_id", "path", "batch_id")}
            | {"rank": int(row["rank"])}
            for row in sheet.rows
        )
        return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()


def _row(item: Item, line: Mapping[str, object], job: str) -> tuple[LabelRow, bool]:
    """The row, and whether its label was a guess."""
    names = {"sample_id": line.get("sample_id"), "path": line.get("source-ref"), "image": line.get("path")}
    ref, aliases = sample_names({key: value for key, value in names.items() if value is not None})
    metadata = as_object(line.get(job + _METADATA, {}))
    guessed = metadata.get("human-annotated") == "no"
    if "class-map" in metadata:
        raise BadCellError(f"job {job!r} has several classes an image; an image has one label")
    label = as_text(metadata.get("class-name"), "class-name").strip()
    if not label and metadata.get("type", "groundtruth/image-classification") != "groundtruth/image-classification":
        raise BadCellError(f"job {job!r} is of type {str(metadata['type'])[:60]!r}, not image classification")
    created = as_text(metadata.get("creation-date"), "creation-date")
    row = LabelRow(
        line=item.number,
        sample_ref=ref,
        aliases=aliases,
        label=None if guessed else label or None,
        labeled_at=moment("creation-date", created) if label and not guessed else None,
    )
    return row, guessed
