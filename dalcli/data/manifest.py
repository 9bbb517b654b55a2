"""Lists of images as tables: ``path``, and optionally ``label`` and ``split``."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field, replace
from pathlib import Path

from dalcli.config.words import counted, suggestion
from dalcli.data.found import FoundImage, Split
from dalcli.data.table import Record, RowProblem, read_table
from dalcli.data.text import TextInput
from dalcli.errors import BadInputError

PATH_COLUMNS = ("path", "image", "file_name", "filename")
LABEL_COLUMNS = ("label", "class")

_SPLITS: dict[str, Split] = {
    **dict.fromkeys(("train", "training", "pool", "unlabeled"), "training"),
    **dict.fromkeys(("test", "val", "validation", "eval", "evaluation"), "evaluation"),
}


def read_manifest(path: Path) -> list[FoundImage]:
    """Images that a manifest lists, in its order; relative paths start at the manifest's folder.

    The table has one column out of :data:`PATH_COLUMNS`, at most one out of :data:`LABEL_COLUMNS`, and possibly
    ``split``; other columns are ignored. An image listed more than once is returned once.

    Raises:
        BadInputError: no such column, or bad rows: a file that does not exist, no path, an unknown split, or rows
            that contradict each other. ``problems`` has them all.
    """
    table = read_table(TextInput.from_path(path))
    path_column = table.only(PATH_COLUMNS)
    if path_column is None:
        raise table.lacks(PATH_COLUMNS)
    reader = _Reader(path, path_column, table.only(LABEL_COLUMNS))
    for record in table:
        reader.add(record)
    if reader.problems:
        raise BadInputError(
            f"{path}: {counted(len(reader.problems), 'bad row')}, first: {reader.problems[0]}",
            "Nothing was changed; correct the manifest and try again.",
            [str(problem) for problem in reader.problems],
        )
    return list(reader.images.values())


class _BadRowError(Exception):
    """Why the row at hand cannot be used."""


@dataclass
class _Reader:
    """Collects rows, by the place they point to."""

    manifest: Path
    path_column: str
    label_column: str | None
    images: dict[str, FoundImage] = field(default_factory=dict)
    problems: list[RowProblem] = field(default_factory=list)

    def add(self, record: Record) -> None:
        try:
            self._add(record)
        except _BadRowError as error:
            self.problems.append(RowProblem(record.line, str(error)))

    def _add(self, record: Record) -> None:
        if record.problem is not None:
            raise _BadRowError(record.problem)
        path = self._path(record.cells[self.path_column])
        label = record.cells[self.label_column].strip() if self.label_column is not None else ""
        image = FoundImage(path, label or None, _split(record.cells.get("split", "")), (self.manifest, record.line))
        place = os.path.abspath(path)
        earlier = self.images.get(place)
        self.images[place] = image if earlier is None else _merged(earlier, image)

    def _path(self, text: str) -> Path:
        if not text.strip():
            raise _BadRowError(f"no {self.path_column}")
        path = self.manifest.parent / text
        try:
            is_regular = stat.S_ISREG(path.stat().st_mode)
        except OSError as error:
            reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
            start = "" if Path(text).is_absolute() else " (relative paths start at the manifest's folder)"
            raise _BadRowError(f"{reason}: {text!r}{start}") from None
        if not is_regular:
            raise _BadRowError(f"not a file: {text!r}")
        return path


def _split(text: str) -> Split | None:
    name = text.strip().casefold()
    if not name:
        return None
    if name not in _SPLITS:
        known = suggestion(name, _SPLITS) or f" (known: {', '.join(_SPLITS)})"
        raise _BadRowError(f"unknown split {text.strip()!r}{known}")
    return _SPLITS[name]


def _merged(earlier: FoundImage, later: FoundImage) -> FoundImage:
    """Two rows about one image: what one leaves open the other may say, but they must not contradict."""
    line = earlier.origin[1] if earlier.origin is not None else 0
    for what, first, second in (("label", earlier.label, later.label), ("split", earlier.split, later.split)):
        if first is not None and second is not None and first != second:
            raise _BadRowError(
                f"{what} {second!r}, but {first!r} in line {line} for the same image {later.path.name!r}"
            )
    return replace(earlier, label=earlier.label or later.label, split=earlier.split or later.split)
