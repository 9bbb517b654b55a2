"""How commands speak to a person while they work, without knowing how it is shown.

Commands and everything below them receive a :class:`Feedback`; only ``cli`` knows that it is rich on a
terminal, plain lines in a log, or silence under ``--quiet``. Nothing here ever reaches stdout.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Task(Protocol):
    """One progress bar: counts units done towards a total."""

    def advance(self, amount: int = 1, info: str | None = None) -> None:
        """Count ``amount`` more units; ``info`` replaces the short text beside the bar."""
        ...


class Feedback(Protocol):
    """Where notes, warnings and progress go (stderr, in one form or another)."""

    def note(self, message: str) -> None:
        """Say something useful that is not a problem."""
        ...

    def warn(self, message: str) -> None:
        """Say something the user should act on or know about."""
        ...

    def task(self, label: str, total: int | None, unit: str = "images") -> AbstractContextManager[Task]:
        """Open a progress bar over ``total`` units (None when unknown) as a context manager."""
        ...


class SilentTask:
    """Counts nothing."""

    def advance(self, amount: int = 1, info: str | None = None) -> None:
        pass


class SilentFeedback:
    """Says nothing: for library use and tests."""

    def note(self, message: str) -> None:
        pass

    def warn(self, message: str) -> None:
        pass

    @contextmanager
    def task(self, label: str, total: int | None, unit: str = "images") -> Iterator[Task]:
        yield SilentTask()
