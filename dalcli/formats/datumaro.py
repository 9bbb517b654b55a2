"""Datumaro's own JSON: ``categories.label.labels`` and ``items`` with annotations that name a class by its number.

Read here rather than through the package of that name, for the reasons in ``cvat.py``; items are matched by the path of
their image, which keeps its extension, and only without one by their id, which lacks it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

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
    return LabelRow(item.number, ref, label, aliases=aliases, part=part)


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
    names = [
        as_text(media.get("path"), "the path")
        for media in (item.get("image"), item.get("media"))
        if isinstance(media, dict)
    ]
    names = [name for name in [*names, as_text(item.get("id"), "id")] if name.strip()]
    if not names:
        raise BadCellError(NAMELESS)
    return names[0], tuple(names[1:])
