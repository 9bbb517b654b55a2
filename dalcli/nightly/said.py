"""What a step says goes into the log of the night, too."""

from __future__ import annotations

from contextlib import AbstractContextManager

from dalcli.feedback import Feedback, Task

_MOST = 50


class Remembering:
    """Passes everything on, and remembers notes and warnings."""

    def __init__(self, feedback: Feedback) -> None:
        self._feedback = feedback
        self.said: list[str] = []

    def note(self, message: str) -> None:
        self._remember(message)
        self._feedback.note(message)

    def warn(self, message: str) -> None:
        self._remember(f"warning: {message}")
        self._feedback.warn(message)

    def task(self, label: str, total: int | None, unit: str = "images") -> AbstractContextManager[Task]:
        return self._feedback.task(label, total, unit)

    def forget(self) -> None:
        """Another step begins."""
        self.said.clear()

    def _remember(self, message: str) -> None:
        if len(self.said) < _MOST:
            self.said.append(message)
