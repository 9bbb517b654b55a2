"""Datumaro's own JSON: ``categories.label.labels`` and ``items`` with annotations that name a class by its number.

Read here rather than through the package of that name, for the reasons in ``cvat.py``; items are matched by
their id with the extension of their image, since its path is ``null`` or has lost its folders.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from dalcli.data.table import RowProblem
from dalcli.data.text import TextInput
from dalcli.errors import BadInputError
from dalcli.formats.cells import BadCellError
from dalcli.formats.fields import NAMELESS, one_class, sample_names
from dalcli.formats.json_stream import Item, JsonReader, as_object, as_text, objects
from dalcli.formats.labels import LabelFile, LabelRow, ReadOptions
from dalcli.formats.look import Look
from dalcli.formats.source import LabelSource


class Datumaro:
    """One JSON file, or the folder or zip with ``annotations/*.json``."""

    description = "Datumaro's JSON with 'categories' and 'items', or a folder or zip with annotations/*.json"

    def detect(self, look: Look) -> str | None:
        """One object with both, or files where Datumaro puts them."""
        if _lists(look.files):
            return "annotations/*.json in it"
        return "a JSON object with 'categories' and 'items'" if {"categories", "items"} <= look.first.keys() else None

    def read(self, source: LabelSource, options: ReadOptions) -> LabelFile:
        """One row an item."""
        rows: list[LabelRow] = []
        problems: list[RowProblem] = []
        if source.members is None:
            texts = [("", source.file())]
        else:
            texts = [(name, source.member(name)) for name in _lists(source.members.names)]
        if not texts:
            raise BadInputError(f"{source.name} has no annotations/*.json.")
        for part, text in texts:
            classes = _classes(text)
            for item in _items(text):
                try:
                    rows.append(_row(item, classes, part))
                except BadCellError as error:
                    problems.append(RowProblem(item.number, str(error), "item", part))
        return LabelFile(rows, problems, unit="item")


def _lists(names: object) -> list[str]:
    assert isinstance(names, frozenset | list)
    return sorted(name for name in names if name.startswith("annotations/") and name.endswith(".json"))


def _classes(text: TextInput) -> list[str]:
    """The class names, by number; what stands before them is passed over."""
    reader = JsonReader(text)
    for key in reader.members():
        reader.colon()
        if key == "categories":
            try:
                label = as_object(as_object(reader.value()).get("label"))
                return [
                    as_text(entry.get("name"), "the name of a class")
                    for entry in objects(label.get("labels"), "labels")
                ]
            except BadCellError as error:
                raise reader.error(f"'categories' names no classes: {error}") from None
        _pass_over(reader, key)
    raise BadInputError(f"{text.name} has no 'categories'.")


def _items(text: TextInput) -> Iterator[Item]:
    reader = JsonReader(text)
    for key in reader.members():
        reader.colon()
        if key == "items":
            yield from reader.items()
        else:
            reader.value()
    reader.end()


def _pass_over(reader: JsonReader, key: str) -> None:
    if key != "items":
        reader.value()
        return
    for _ in reader.items():
        pass


def _row(item: Item, classes: list[str], part: str) -> LabelRow:
    found = as_object(item.value)
    chosen = [entry for entry in objects(found.get("annotations"), "annotations") if entry.get("type") == "label"]
    ref, aliases = _names(found)
    label = one_class([_class(entry.get("label_id"), classes) for entry in chosen])
    return LabelRow(item.number, ref, label, aliases=aliases, without_extension=True, part=part)


def _class(number: object, classes: list[str]) -> str:
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < len(classes):
        raise BadCellError(f"label_id {str(number)[:20]!r} is none of the {len(classes)} classes, which count from 0")
    return classes[number]


def _names(item: Mapping[str, object]) -> tuple[str, tuple[str, ...]]:
    attributes = item.get("attr")
    if isinstance(attributes, dict) and "sample_id" in attributes:
        try:
            return sample_names({"sample_id": attributes["sample_id"]})
        except BadCellError:
            pass
    identity = as_text(item.get("id"), "id")
    media = [entry for entry in (item.get("image"), item.get("media")) if isinstance(entry, dict)]
    paths = [as_text(entry.get("path"), "the path") for entry in media]
    # Saved images lose their folders (pool_img_0.png), of which the id keeps all but the extension (pool/img_0).
    names = [identity + PurePosixPath(path).suffix for path in paths if path and identity.strip()]
    names = [name for name in [*names, *paths, identity] if name.strip()]
    if not names:
        raise BadCellError(NAMELESS)
    return names[0], tuple(names[1:])
