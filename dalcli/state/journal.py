"""Logs of JSON lines: one line an event, appended whole or not at all, rotated by size.

Not a source of truth: what the program decides by is in the database. One process at a time writes to a journal; the
caller sees to it with a lock.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TAIL = 1 << 20


@dataclass(frozen=True)
class Journal:
    """The file at ``path``; beyond ``most_bytes`` it becomes ``PATH.1``, that one ``PATH.2``, up to ``keep`` of them.

    ``most_bytes`` None: it grows for ever.
    """

    path: Path
    most_bytes: int | None = None
    keep: int = 5

    def append(self, document: Mapping[str, Any]) -> None:
        """Add one line, durably. A line that a power cut or a full disk tore before is dropped first.

        Raises:
            OSError: it cannot be written; the file is as it was.
        """
        line = (json.dumps(document, ensure_ascii=False, allow_nan=False) + "\n").encode(errors="backslashreplace")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._rotate(len(line))
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            size = _whole(descriptor)
            os.ftruncate(descriptor, size)
            try:
                os.lseek(descriptor, size, os.SEEK_SET)
                _write_all(descriptor, line)
                os.fsync(descriptor)
            except BaseException:
                os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)

    def documents(self) -> Iterator[dict[str, Any]]:
        """Every whole line of the file itself, oldest first; lines that are no JSON objects are passed over."""
        try:
            with self.path.open(encoding="utf-8", errors="replace") as file:
                for line in file:
                    try:
                        found = json.loads(line)
                    except ValueError:
                        continue
                    if isinstance(found, dict):
                        yield found
        except FileNotFoundError:
            return

    def _rotate(self, more: int) -> None:
        if self.most_bytes is None or not self.path.exists() or self.path.stat().st_size + more <= self.most_bytes:
            return
        for number in range(self.keep, 1, -1):
            older = self._numbered(number - 1)
            if older.exists():
                older.replace(self._numbered(number))
        self.path.replace(self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")


def _whole(descriptor: int) -> int:
    """The size up to the end of the last whole line."""
    size = os.fstat(descriptor).st_size
    start = max(size - _TAIL, 0)
    os.lseek(descriptor, start, os.SEEK_SET)
    tail = os.read(descriptor, size - start)
    if not tail or tail.endswith(b"\n"):
        return size
    end = tail.rfind(b"\n")
    if end >= 0:
        return start + end + 1
    return size if start else 0


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
