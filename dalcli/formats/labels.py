"""What every label file comes down to, and what a format must be able to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from dalcli.data.table import RowProblem
from dalcli.data.text import TextInput


@dataclass(frozen=True, slots=True)
class LabelRow:
    """One answer of one labeler.

    ``sample_ref`` is a sample id where the file has one, else the path or name as written; ``path`` is the path
    written beside a sample id, against which it can be checked ('' if there is none). ``label`` is None for
    "not labeled yet", and always for a skipped sample. ``annotator`` is '' if the file does not say. ``cost`` is in
    the user's currency, ``seconds`` the time taken. ``labeled_at`` is ISO 8601 in UTC with offset ``+00:00``: such
    texts sort by time. ``batch`` is the id of the batch that the row answers, '' if the file does not say.
    """

    line: int
    sample_ref: str
    label: str | None
    annotator: str = ""
    cost: float | None = None
    seconds: float | None = None
    labeled_at: str | None = None
    skipped: bool = False
    path: str = ""
    batch: str = ""


class LabelFile(NamedTuple):
    """Everything a label file says, and every row that says nothing usable."""

    rows: list[LabelRow]
    problems: list[RowProblem]


class LabelFormat(Protocol):
    """A way to write labels down. One file per format, one line in the registry."""

    @property
    def description(self) -> str:
        """Half a line for messages and documentation."""
        ...

    def detect(self, head: bytes) -> bool:
        """Whether a file that begins with ``head`` (64 KiB, or all of it) looks like this format."""
        ...

    def read(self, source: TextInput) -> LabelFile:
        """Read all rows; BadInputError if the file as a whole cannot be understood."""
        ...
