"""ImageNet lists, as CVAT and datumaro export them: ``synsets.txt`` with a class a line, and ``path number`` in others.

A path with spaces may be quoted. The number counts the lines of ``synsets.txt`` from 0. The list's name (``default``,
``train``) is a subset, which means nothing here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from dalcli.data.table import RowProblem
from dalcli.data.text import TextInput
from dalcli.errors import BadInputError
from dalcli.formats.cells import BadCellError
from dalcli.formats.labels import LabelFile, LabelRow, ReadOptions
from dalcli.formats.look import Look
from dalcli.formats.source import LabelSource

_CLASSES = "synsets.txt"
# datumaro puts the extension behind the quotes.
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"(\.\w+)?((?:\s+[0-9]+)*)\s*')
_BARE = re.compile(r"(\S.*?)()((?:\s+[0-9]+)?)\s*", re.DOTALL)


class ImagenetTxt:
    """A folder or zip with both, or the list with ``synsets.txt`` beside it."""

    description = "ImageNet lists: synsets.txt with a class a line, and lists of 'path number'"

    def detect(self, look: Look) -> str | None:
        """Both files are there."""
        names = look.files if look.files else look.beside
        lists = any(name.endswith(".txt") and name != _CLASSES and "/" not in name for name in names)
        if _CLASSES not in names or not lists:
            return None
        return f"{_CLASSES} and other lists" if look.files else f"{_CLASSES} beside it"

    def read(self, source: LabelSource, options: ReadOptions) -> LabelFile:
        """One row a line of every list."""
        rows: list[LabelRow] = []
        problems: list[RowProblem] = []
        classes, lists = _files(source)
        names = [line.strip("\ufeff \t\r\n") for line in classes.lines()]
        for part, text in lists:
            for number, line in enumerate(text.lines(), start=1):
                if not line.strip("\ufeff \t\r\n"):
                    continue
                try:
                    path, label = _split(line.strip("\ufeff\r\n"), names)
                    rows.append(LabelRow(number, path, label, part=part))
                except BadCellError as error:
                    problems.append(RowProblem(number, str(error), part=part))
        return LabelFile(rows, problems)


def _files(source: LabelSource) -> tuple[TextInput, Iterator[tuple[str, TextInput]]]:
    """The list of classes, and the lists of images with their names ('' for one that was named itself)."""
    if source.members is not None:
        names = [name for name in source.members.names if name.endswith(".txt") and "/" not in name]
        if _CLASSES not in names:
            raise BadInputError(f"{source.name} has no {_CLASSES}, which says what the numbers mean.")
        lists = ((name, source.member(name)) for name in names if name != _CLASSES)
        return source.member(_CLASSES), lists
    if source.beside is None or not (source.beside / _CLASSES).is_file():
        raise BadInputError(
            f"{source.name}: there is no {_CLASSES} beside it, which says what the numbers mean.",
            "Name the folder or the zip that holds both.",
        )
    return TextInput.from_path(source.beside / _CLASSES), iter([("", source.file())])


def _split(line: str, names: list[str]) -> tuple[str, str | None]:
    quoted = _QUOTED.fullmatch(line)
    match = quoted or _BARE.fullmatch(line.strip())
    if match is None or not match[1].strip():
        raise BadCellError("is no 'path number'")
    path = (re.sub(r"\\(.)", r"\1", match[1]) if quoted else match[1]) + (match[2] or "")
    numbers = match[3].split()
    if len(numbers) > 1:
        raise BadCellError(f"several classes: {', '.join(numbers)}; an image has one label")
    if not numbers:
        return path, None
    if len(numbers[0]) > 9 or int(numbers[0]) >= len(names) or not names[int(numbers[0])]:
        raise BadCellError(f"class {numbers[0][:20]} is none of the {len(names)} in {_CLASSES}, which count from 0")
    return path, names[int(numbers[0])]
