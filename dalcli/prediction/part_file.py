"""Predictions of new images on their way into a file: what a killed run has done lies beside it, for the next one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dalcli.prediction.rows import Prediction
from dalcli.prediction.sources import Unreadable


class PartFile:
    """``predictions.csv.part``: a line that says what it is of, then a line of JSON for every image."""

    def __init__(self, output: Path, fingerprint: str) -> None:
        self.path = output.with_name(f"{output.name}.part")
        self._head = json.dumps({"predictions": fingerprint}) + "\n"
        self.done = self._take_up()

    def append(self, entries: Sequence[Prediction | Unreadable]) -> None:
        """Keep some more."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write("".join(f"{json.dumps(_document(entry))}\n" for entry in entries))

    def entries(self) -> Iterator[Prediction | Unreadable]:
        """All that is there, in order."""
        with self.path.open(encoding="utf-8") as file:
            next(file)
            for line in file:
                yield _entry(json.loads(line))

    def remove(self) -> None:
        """All of it is where it belongs."""
        self.path.unlink(missing_ok=True)

    def _take_up(self) -> int:
        """How many images a killed run has done; what is of anything else, or torn, is thrown away."""
        try:
            with self.path.open("rb+") as file:
                if file.readline() == self._head.encode():
                    lines, end = 0, file.tell()
                    while file.readline().endswith(b"\n"):
                        lines, end = lines + 1, file.tell()
                    file.truncate(end)
                    return lines
        except FileNotFoundError:
            pass
        self.path.write_text(self._head, encoding="utf-8")
        return 0


def _document(entry: Prediction | Unreadable) -> dict[str, object]:
    if isinstance(entry, Unreadable):
        return {"path": entry.path, "reason": entry.reason}
    return {"id": entry.sample_id, "path": entry.path, "top": [list(pair) for pair in entry.top]}


def _entry(document: dict[str, Any]) -> Prediction | Unreadable:
    if "reason" in document:
        return Unreadable(document["path"], document["reason"])
    return Prediction(document["id"], document["path"], [(name, float(value)) for name, value in document["top"]])
