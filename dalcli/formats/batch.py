"""A batch on its way to the labelers, in whichever format: always made of the CSV bytes that were committed with it.

So the same batch in the same format is the same bytes whenever it is asked for, and asking for another format is asking
for another print, not for another batch.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Protocol
from urllib.parse import quote

from dalcli.formats.cells import unguarded

_NUMBERS = frozenset({"rank", "score", "confidence"})


@dataclass(frozen=True)
class Sheet:
    """A batch to be written.

    Attributes:
        csv: the bytes that were committed.
        batch_id: its name.
        model: the version that chose it; '' without one.
        classes: all class names when it was issued, in their order.
        image_url: what the tool's addresses of images begin with; None: the format's default.
    """

    csv: bytes
    batch_id: str
    model: str
    classes: Sequence[str]
    image_url: str | None = None

    @cached_property
    def rows(self) -> Sequence[Mapping[str, str]]:
        """Its rows, cell by cell, as they were before anything was done for the sake of spreadsheets."""
        reader = csv.DictReader(io.StringIO(self.csv.decode(), newline=""))
        return [{key: cell if key in _NUMBERS else unguarded(cell) for key, cell in row.items()} for row in reader]

    def url(self, path: str, default: str) -> str:
        """Where the tool finds an image: ``image_url`` and the percent-encoded path, or the format's ``default``."""
        if self.image_url is None:
            return default
        encoded = quote(PurePosixPath(path).as_posix().lstrip("/"))
        return self.image_url + encoded if self.image_url.endswith(("/", "=")) else f"{self.image_url}/{encoded}"


class BatchFormat(Protocol):
    """A way to hand a batch out."""

    @property
    def description(self) -> str:
        """Half a line for messages and documentation."""
        ...

    def write(self, sheet: Sheet) -> bytes:
        """The batch as the tool takes it in.

        Raises:
            BadInputError: a name in the batch that the format cannot hold.
        """
        ...
