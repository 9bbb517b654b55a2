"""A folder per class, the commonest labels of all; or images with a ``metadata.csv`` or ``.jsonl`` beside them.

An image in a class folder is known by its bytes, so it may be a copy under any name; a changed one is looked for by its
name. Folders named like parts of a data set (train, test, ...) are passed through. ``metadata.*`` is what Hugging
Face's ``imagefolder`` reads: ``file_name`` and ``label``.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from dalcli.data.table import RowProblem, read_table
from dalcli.errors import BadInputError
from dalcli.formats.json_lines import read_objects
from dalcli.formats.labels import LabelFile, LabelRow, ReadOptions
from dalcli.formats.look import Look
from dalcli.formats.plain import read_rows
from dalcli.formats.source import LabelSource, Members
from dalcli.state.workspace import printable

_METADATA = ("metadata.csv", "metadata.jsonl")
_PARTS = frozenset({"train", "training", "test", "testing", "val", "valid", "validation", "eval", "evaluation"})
_NO_CLASS = "no_label"  # where datumaro puts images without one


class ImageFolder:
    """Images in class folders, in a folder or zip."""

    description = "a folder or zip with a folder of images per class, or with metadata.csv or metadata.jsonl"

    def detect(self, look: Look) -> str | None:
        """Metadata, or images in folders."""
        for name in _METADATA:
            if name in look.files:
                return f"{name} in it"
        return "images in folders" if any("/" in name for name in _images(look.files)) else None

    def read(self, source: LabelSource, options: ReadOptions) -> LabelFile:
        """One row an image, or a row of the metadata."""
        if source.members is None:
            raise BadInputError(f"{source.name} is a file, not a folder or zip of images.")
        for name in _METADATA:
            if name in source.members.names:
                return _metadata(source, name, options)
        return _folders(source.name, source.members)


def _metadata(source: LabelSource, name: str, options: ReadOptions) -> LabelFile:
    text = source.member(name)
    if name.endswith(".csv"):
        return read_rows(read_table(text), options, part=name)
    return read_objects(LabelSource(text.name, text), options, part=name)


def _folders(name: str, members: Members) -> LabelFile:
    images = _images(members.names)
    if not any("/" in image for image in images):
        raise BadInputError(
            f"{name} has no images in folders.", "It needs a folder per class, with the images of that class in it."
        )
    rows: list[LabelRow] = []
    problems: list[RowProblem] = []
    for image in images:
        part, label = printable(image), _class(image)
        try:
            if label is not None and printable(label) != label:
                raise BadInputError("the name of its folder is not valid UTF-8: rename it")
            rows.append(LabelRow(0, members.sample_id(image), label, aliases=(image,), part=part))
        except BadInputError as error:
            problems.append(RowProblem(0, error.message, part=part))
    return LabelFile(rows, problems, unit="file")


def _class(image: str) -> str | None:
    """The first folder that is no part of a data set; None for an image in no other."""
    folders = PurePosixPath(image).parts[:-1]
    named = folders[1:] if len(folders) > 1 and folders[0].casefold() in _PARTS else folders
    return named[0] if named and named[0] != _NO_CLASS else None


def _images(names: Iterable[str]) -> list[str]:
    from dalcli.data.decoding import image_extensions

    extensions = image_extensions()
    return sorted(name for name in names if PurePosixPath(name).suffix.lower() in extensions)
