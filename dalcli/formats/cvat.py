"""CVAT for images 1.1: ``annotations.xml`` with an ``<image name=...>`` for every image, a ``<tag label=...>`` in it.

Read here rather than through ``datumaro``: that gives neither the line of a bad image nor an end to what it holds in
memory, and this is one page. A tag with ``source="auto"`` is a model's guess that nobody has confirmed: no answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from dalcli.data.table import RowProblem
from dalcli.data.text import TextInput
from dalcli.errors import BadInputError
from dalcli.formats.batch import Sheet
from dalcli.formats.cells import BadCellError
from dalcli.formats.fields import one_class
from dalcli.formats.labels import LabelFile, LabelRow, ReadOptions
from dalcli.formats.look import Look
from dalcli.formats.source import LabelSource
from dalcli.formats.xml_stream import Element, elements

_FILE = "annotations.xml"  # "[Content_Types].xml" lies in every Office document


class Cvat:
    """An ``annotations.xml``, or the folder or zip that holds one."""

    description = "CVAT for images 1.1: annotations.xml, or a folder or zip with it"

    def detect(self, look: Look) -> str | None:
        """A folder or archive with the file, or XML of its kind."""
        files = _files(look.files)
        if files:
            return f"{files[0]} in it"
        return "XML of <annotations>" if look.root == "annotations" else None

    def read(self, source: LabelSource, options: ReadOptions) -> LabelFile:
        """One row an image."""
        files = _files(source.members.names) if source.members is not None else []
        texts = [(name, source.member(name)) for name in files] or [("", source.file())]
        rows: list[LabelRow] = []
        problems: list[RowProblem] = []
        guesses = 0
        for part, text in texts:
            for image, tags in _images(text):
                answers = [tag for tag in tags if tag.get("source") != "auto"]
                guesses += len(answers) < len(tags)
                try:
                    rows.append(_row(image, answers, part))
                except BadCellError as error:
                    problems.append(RowProblem(image.line, str(error), part=part))
        note = f'{guesses} of its images have tags with source="auto": guesses that nobody confirmed, not read'
        return LabelFile(rows, problems, notes=(note,) if guesses else ())

    def write(self, sheet: Sheet) -> bytes:
        """The images, without tags: a guess that nobody touched would come back as an answer."""
        from xml.sax.saxutils import quoteattr  # which imports urllib and ssl

        lines = ['<?xml version="1.0" encoding="utf-8"?>', "<annotations>", "  <version>1.1</version>"]
        lines += [
            f"  <image id={quoteattr(str(number))} name={quoteattr(_xml_text(sheet.url(row['path'], row['path'])))}/>"
            for number, row in enumerate(sheet.rows)
        ]
        return ("\n".join([*lines, "</annotations>"]) + "\n").encode()


def _files(names: Iterable[str]) -> list[str]:
    """What CVAT exports, or what datumaro does: a file a subset."""
    found = sorted(name for name in names if name.endswith(".xml") and "/" not in name)
    return [_FILE] if _FILE in found else [name for name in found if not name.startswith("[")]


def _xml_text(path: str) -> str:
    """``path``, if XML can hold it."""
    if any(ord(character) < 32 and character not in "\t\n\r" for character in path):
        raise BadInputError(f"XML cannot hold the name {path!r}.", "Rename the file, or use another --format.")
    return path


def _images(text: TextInput) -> Iterator[tuple[Element, list[Mapping[str, str]]]]:
    """Every image with its tags."""
    image: Element | None = None
    tags: list[Mapping[str, str]] = []
    for number, element in enumerate(elements(text)):
        if number == 0 and element.name != "annotations":
            raise BadInputError(f"{text.name}: the outermost element is <{element.name}>, not <annotations>.")
        if element.name == "image":
            if element.attributes is not None:
                image, tags = element, []
            elif image is not None:
                yield image, tags
                image = None
        elif element.name == "tag" and element.attributes is not None and image is not None:
            tags.append(element.attributes)


def _row(image: Element, tags: list[Mapping[str, str]], part: str) -> LabelRow:
    name = (image.attributes or {}).get("name", "")
    if not name.strip():
        raise BadCellError("<image> has no name")
    if any(not tag.get("label", "").strip() for tag in tags):
        raise BadCellError("<tag> has no label")
    return LabelRow(image.line, name, one_class([tag["label"] for tag in tags]), part=part)
