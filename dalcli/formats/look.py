"""A label file seen from outside: enough to tell formats apart, whatever its size."""

from __future__ import annotations

import codecs
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

from dalcli.data.table import read_table
from dalcli.data.text import TextInput
from dalcli.errors import BadInputError
from dalcli.formats.json_stream import JsonReader
from dalcli.formats.source import LabelSource
from dalcli.formats.xml_stream import elements

Kind = Literal["folder", "archive", "array", "object", "lines", "xml", "table"]

_OFFICE = {
    "mimetype": "an OpenDocument file",
    "xl/workbook.bin": "a binary Excel workbook (.xlsb)",
    "word/document.xml": "a Word document",
}
_OLD_OFFICE = b"\xd0\xcf\x11\xe0"
_FIRST_LINE = 1 << 20
_KEYS = 32


@dataclass(frozen=True)
class Look:
    """What can be seen of a label file.

    Attributes:
        kind: a folder, an archive, JSON (an array, one object, or lines of objects), XML, or else a table.
        first: the first object of JSON; of a single large object its keys alone.
        root: the outermost element of XML.
        columns: the header of a table, in lower case.
        delimiter: what parts its columns.
        files: names of the files in a folder or archive.
        beside: names of the files in the folder where a file is.
        name: of the file itself.
        error: why nothing more could be seen.
    """

    kind: Kind
    first: Mapping[str, object] = field(default_factory=dict)
    root: str = ""
    columns: tuple[str, ...] = ()
    delimiter: str = ""
    files: frozenset[str] = frozenset()
    beside: frozenset[str] = frozenset()
    name: str = ""
    error: BadInputError | None = None


def look_at(source: LabelSource) -> Look:
    """Look at a file, folder or archive; what is wrong with it is kept in ``error``."""
    if source.members is not None:
        files = frozenset(source.members.names)
        other = next((what for name, what in _OFFICE.items() if name in files), None)
        if other is not None and source.text is not None:
            return Look("archive", error=_save_as(source.name, other))
        return Look("folder" if source.text is None else "archive", files=files)
    text = source.file()
    if text.head(4) == _OLD_OFFICE:
        return Look("table", name=text.name, error=_save_as(text.name, "an old Excel workbook (.xls)"))
    try:
        return _look_at_file(text, source)
    except BadInputError as error:
        return Look(_kind(text), name=text.name, error=error)


def _save_as(name: str, what: str) -> BadInputError:
    return BadInputError(f"{name} is {what}.", "Save it as .xlsx, or as 'CSV UTF-8'.")


def _kind(text: TextInput) -> Kind:
    start = text.head(4096).removeprefix(codecs.BOM_UTF8)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        start = start.decode("utf-16", "replace").encode("utf-8", "replace")
    kinds: dict[bytes, Kind] = {b"[": "array", b"{": "lines", b"<": "xml"}
    return kinds.get(start.lstrip()[:1], "table")


def _look_at_file(text: TextInput, source: LabelSource) -> Look:
    kind = _kind(text)
    if kind == "xml":
        return Look(kind, root=next(elements(text)).name)
    if kind == "array":
        item = next(JsonReader(text).items(), None)
        return Look(kind, first=item.value if item is not None and isinstance(item.value, dict) else {})
    if kind == "lines":
        return _first_object(text)
    beside: frozenset[str] = frozenset()
    if source.beside is not None and text.name.endswith(".txt"):
        beside = frozenset(entry.name for entry in islice(source.beside.iterdir(), 10_000))
    if "synsets.txt" in beside:  # lists of CVAT and ImageNet have no header
        return Look(kind, beside=beside, name=text.name)
    table = read_table(text)
    return Look(kind, columns=table.columns, delimiter=table.delimiter, beside=beside, name=text.name)


def _first_object(text: TextInput) -> Look:
    """The first line if it is an object of its own, else the keys of the object that goes over many lines."""
    line = next(text.chunks(_FIRST_LINE), "").lstrip("\ufeff \t\r\n").split("\n", 1)[0]
    try:
        first = json.loads(line)
    except (ValueError, RecursionError):
        first = None
    if isinstance(first, dict):
        return Look("object" if "items" in first and "categories" in first else "lines", first=first)
    reader = JsonReader(text)
    keys: dict[str, object] = {}
    try:
        for key in islice(reader.members(), _KEYS):
            reader.colon()
            keys[key] = None
            if key == "items":
                break
            reader.value()
    except BadInputError:
        keys = keys if "items" in keys else {}
    return Look("object" if "items" in keys else "lines", first=keys)
