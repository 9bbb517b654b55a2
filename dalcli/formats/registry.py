"""All label formats, in the order in which they are tried, and all formats of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dalcli.config.words import counted, suggestion
from dalcli.data.text import TextInput
from dalcli.errors import BadInputError, UsageError
from dalcli.formats.batch import BatchFormat
from dalcli.formats.batch_csv import BatchCsv
from dalcli.formats.cvat import Cvat
from dalcli.formats.datumaro import Datumaro
from dalcli.formats.image_folder import ImageFolder
from dalcli.formats.imagenet_txt import ImagenetTxt
from dalcli.formats.json_lines import JsonLines
from dalcli.formats.label_studio import LabelStudio
from dalcli.formats.label_studio_min import LabelStudioMin
from dalcli.formats.label_studio_table import LabelStudioTable
from dalcli.formats.labelbox import Labelbox
from dalcli.formats.labels import LabelFile, LabelFormat, ReadOptions
from dalcli.formats.look import Look, look_at
from dalcli.formats.paths import Paths
from dalcli.formats.plain import PlainTable
from dalcli.formats.prodigy import Prodigy
from dalcli.formats.sagemaker import SageMaker
from dalcli.formats.source import LabelSource
from dalcli.formats.xlsx import Xlsx

AUTO = "auto"

# Plain lines and tables come last: other tools write some too, and theirs are recognised by their keys and columns.
FORMATS: dict[str, LabelFormat] = {
    "cvat": Cvat(),
    "imagenet-txt": ImagenetTxt(),
    "xlsx": Xlsx(),
    "datumaro": Datumaro(),
    "imagefolder": ImageFolder(),
    "label-studio": LabelStudio(),
    "label-studio-min": LabelStudioMin(),
    "label-studio-table": LabelStudioTable(),
    "sagemaker": SageMaker(),
    "labelbox": Labelbox(),
    "prodigy": Prodigy(),
    "jsonl": JsonLines(),
    "tsv": PlainTable("\t", "a table with tabs and the columns of a CSV"),
    "csv": PlainTable(
        ",;|",
        "a table with the columns 'label' and one of 'sample_id', 'path', 'image', 'file_name', parted by , ; or |",
    ),
}

BATCH_FORMATS: dict[str, BatchFormat] = {
    "csv": BatchCsv(),
    "jsonl": JsonLines(),
    "paths": Paths(),
    "label-studio": LabelStudio(),
    "cvat": Cvat(),
    "sagemaker": SageMaker(),
    "prodigy": Prodigy(),
    "labelbox": Labelbox(),
}


def check_format(name: str, known: Sequence[str]) -> None:
    """UsageError if there is no format of this name."""
    if name not in known:
        raise UsageError(
            f"--format: unknown format '{name}'{suggestion(name, known)}", f"choose one of: {', '.join(known)}"
        )


def read_labels(source: LabelSource | TextInput, name: str = AUTO, options: ReadOptions | None = None) -> LabelFile:
    """Read a label file in the format ``name``, or else in the first that recognises it.

    Bad rows are collected in ``problems``: whether they refuse the file is the caller's decision.

    Raises:
        BadInputError: it is in no known format, or not in that one, or it cannot be understood as a whole.
    """
    found = LabelSource.of(source) if isinstance(source, TextInput) else source
    try:
        return _read(found, name, options or ReadOptions())
    finally:
        found.close()


def _read(found: LabelSource, name: str, options: ReadOptions) -> LabelFile:
    look = look_at(found)
    detected, reason = _detected(look)
    if name == AUTO and not detected:
        raise look.error or _unknown(found, look)
    chosen = detected if name == AUTO else name
    if name != AUTO:
        _check_kind(found, look, name, detected, reason)
    table = FORMATS[chosen].read(found, options)
    return replace(table, format=chosen, reason=reason if name == AUTO else "--format")


def _detected(look: Look) -> tuple[str, str]:
    if look.error is not None and look.kind in {"archive", "table"}:
        return "", ""  # what it is was seen, or it is no text
    for name, label_format in FORMATS.items():
        reason = label_format.detect(look)
        if reason is not None:
            return name, reason
    return "", ""


def _check_kind(source: LabelSource, look: Look, name: str, detected: str, reason: str) -> None:
    """Refuse a format that the file is not in, saying what it is."""
    if detected == name or FORMATS[name].detect(look) is not None:
        return
    if look.error is not None:
        raise look.error
    if detected:
        remedy = f"It looks like {detected} ({reason}): leave --format out, or pass --format {detected}."
        raise BadInputError(f"{source.name} is not {FORMATS[name].description}.", remedy)
    raise BadInputError(f"{source.name} is not {FORMATS[name].description}.", "Leave --format out to see what it is.")


def _unknown(source: LabelSource, look: Look) -> BadInputError:
    known = f"{', '.join(FORMATS)}; docs/labels.md says what each of them looks like"
    if look.kind == "array" and not look.first:
        known = "Is it the right export, and has anything been labeled?"
        return BadInputError(f"{source.name} is in no known label format: a JSON array without objects.", known)
    seen = ""
    if look.first:
        seen = f" Its first object has the keys {', '.join(map(repr, list(look.first)[:12]))}."
        if {"data", "predictions"} & look.first.keys() and look.kind == "array":
            seen += " They are tasks to be imported, not an export."
    elif look.root:
        seen = f" It is XML of <{look.root}>."
    elif look.kind in {"folder", "archive"}:
        seen = f" It holds {counted(len(look.files), 'file')}, none where a format has them."
    return BadInputError(f"{source.name} is in no known label format.{seen}", f"Known formats: {known}.")
