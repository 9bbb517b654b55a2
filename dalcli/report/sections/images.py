"""Contact sheets."""

from __future__ import annotations

from collections.abc import Iterator

from dalcli.report.blocks import Block, Pictures, Section, Text
from dalcli.report.contents import Report, Sheet

_TITLES = {
    "next-batch": "Images that are out now",
    "most-confused": "Images that the model gets wrong",
    "suspects": "Labels to doubt",
}


def sheets(report: Report) -> list[Section]:
    """One section each."""
    return [Section(sheet.name, _TITLES[sheet.name], list(_blocks(sheet))) for sheet in report.sheets]


def _blocks(sheet: Sheet) -> Iterator[Block]:
    if sheet.missing is not None:
        yield Text(sheet.missing, "missing")
    if sheet.note is not None:
        yield Text(sheet.note)
    if sheet.pictures:
        yield Pictures(sheet.pictures, sheet.total - len(sheet.pictures))
    elif sheet.missing is None:
        yield Text("No pictures were asked for.", "missing")
