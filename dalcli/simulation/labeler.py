"""The labeler of a simulation: answers that were drawn beforehand."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from dalcli.data.table import csv_text
from dalcli.simulation.data import ANSWERS_NAME


@dataclass(frozen=True)
class Labeler:
    """Stands in for the people who answer queries: it says what the data set knows, or what was drawn instead.

    ``answers`` and ``truth`` are by sample id; the latter are positions in ``classes``.
    """

    classes: tuple[str, ...]
    answers: dict[str, str]
    truth: dict[str, int]

    @classmethod
    def read(cls, draw: Path, classes: tuple[str, ...]) -> Labeler:
        """The answers that were drawn for one seed."""
        position = {name: index for index, name in enumerate(classes)}
        with (draw / ANSWERS_NAME).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return cls(
            classes,
            {row["sample_id"]: row["answer"] for row in rows},
            {row["sample_id"]: position[row["truth"]] for row in rows},
        )

    def label(self, batch: bytes) -> tuple[bytes, tuple[int, ...]]:
        """A label file for a batch, and how many images of each true class are in it."""
        ids = [row["sample_id"] for row in csv.DictReader(io.StringIO(batch.decode(), newline=""))]
        counts = [0] * len(self.classes)
        for name in ids:
            counts[self.truth[name]] += 1
        return csv_text(("sample_id", "label"), [(name, self.answers[name]) for name in ids]).encode(), tuple(counts)
