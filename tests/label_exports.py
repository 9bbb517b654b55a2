"""Recorded exports, and what is said about them."""

from __future__ import annotations

from pathlib import Path

from dalcli.formats.labels import LabelFile, LabelRow, ReadOptions
from dalcli.formats.registry import AUTO, read_labels
from dalcli.formats.source import LabelSource

EXPORTS = Path(__file__).parent / "formats" / "exports"


def read(path: Path | str, name: str = AUTO, label_column: str | None = None) -> LabelFile:
    """A recorded export, or a file of one's own."""
    return read_labels(LabelSource.from_path(EXPORTS / path), name, ReadOptions(label_column))


def answers(file: LabelFile) -> list[tuple[str, str | None]]:
    """The end of the sample's name and the label of every row; ``-`` for a skipped one."""
    return [(row.sample_ref.rsplit("/", 1)[-1], "-" if row.skipped else row.label) for row in file.rows]


def only(file: LabelFile) -> LabelRow:
    (row,) = file.rows
    return row
