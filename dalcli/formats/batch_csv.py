"""A batch on its way to the labelers: one CSV line per image.

UTF-8 without byte order mark, ``\\n`` line ends, cells quoted only where needed. Floats are the shortest text that
reads back as the same number. A path or class name that a spreadsheet would take for a formula (it begins with
``= + - @``) gets an apostrophe before it, which label files lose again when they are read. A file name that is not
valid text (undecodable bytes) is written with backslash escapes, ``caf\\udce9.png``: the file stays valid UTF-8, and
labels find their way back by ``sample_id``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

from dalcli.formats.batch import Sheet
from dalcli.formats.cells import guarded


@dataclass(frozen=True, slots=True)
class CsvRow:
    """One image of a batch; the fields are the columns, in their order."""

    sample_id: str
    path: str
    rank: int
    score: float | None
    pseudo_label: str | None
    confidence: float | None
    strategy: str
    arm: str
    batch_id: str
    label: str | None = None


COLUMNS = tuple(field.name for field in fields(CsvRow))


def render_batch(rows: Iterable[CsvRow]) -> bytes:
    """The bytes that ``query`` prints: header and rows."""
    lines = [",".join(COLUMNS)]
    lines += [",".join(_cell(getattr(row, column)) for column in COLUMNS) for row in rows]
    return ("\n".join(lines) + "\n").encode("utf-8", errors="backslashreplace")


def _cell(value: str | float | None) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(float(value))  # float(): numpy's own float64 would print its type
    text = guarded(value) if isinstance(value, str) else str(value)
    # The csv module leaves a lone carriage return unquoted, which readers then take for the end of the row.
    if any(special in text for special in ',"\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


class BatchCsv:
    """The table itself: what is committed."""

    description = "the table, byte for byte as it was committed"

    def write(self, sheet: Sheet) -> bytes:
        """The committed bytes."""
        return sheet.csv
