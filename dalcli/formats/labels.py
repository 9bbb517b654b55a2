"""What every label file comes down to, and what a format must be able to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from dalcli.data.table import RowProblem
from dalcli.formats.look import Look
from dalcli.formats.source import LabelSource


@dataclass(frozen=True, slots=True)
class LabelRow:
    """One answer of one labeler.

    ``sample_ref`` is a sample id where the file has one, else the path or name as written; ``aliases`` are further
    names, tried in order where that one is unknown; ``without_extension``: they may lack their extension, as those of
    some tools do. ``path`` is the path written beside a sample id, against which it can be checked ('' if there is
    none). ``label`` is None for "not labeled yet", and always for a skipped sample. ``annotator`` is '' if the file
    does not say. ``cost`` is in the user's currency, ``seconds`` the time taken. ``labeled_at`` is ISO 8601 in UTC with
    offset ``+00:00``: such texts sort by time. ``part`` is the file inside a folder or archive that says it.
    ``batch`` is the id of the batch that the row answers, '' if the file does not say.
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
    aliases: tuple[str, ...] = ()
    without_extension: bool = False
    part: str = ""
    batch: str = ""


@dataclass(frozen=True)
class LabelFile:
    """Everything a label file says, and every row that says nothing usable.

    ``unit`` is what ``line`` counts in rows: line, item or row. ``in_order``: later rows were written later, so that
    the last answer of an annotator counts where no times are told. ``notes`` are for whoever hands the file in.
    ``format`` and ``reason``: what it was read as, and why.
    """

    rows: list[LabelRow]
    problems: list[RowProblem]
    unit: str = "line"
    in_order: bool = False
    notes: tuple[str, ...] = ()
    format: str = field(default="", compare=False)
    reason: str = field(default="", compare=False)


@dataclass(frozen=True)
class ReadOptions:
    """What the command line says about a label file.

    ``label_column``: the column, key, control or question that holds the answer; None: the one that there is.
    """

    label_column: str | None = None


class LabelFormat(Protocol):
    """A way to write labels down. One file per format, one line in the registry."""

    @property
    def description(self) -> str:
        """Half a line for messages and documentation."""
        ...

    def detect(self, look: Look) -> str | None:
        """Why a file that looks like this is of this format; None if it is not."""
        ...

    def read(self, source: LabelSource, options: ReadOptions) -> LabelFile:
        """Read all rows; BadInputError if the file as a whole cannot be understood."""
        ...
