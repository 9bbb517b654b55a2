"""Three ways to show progress and notes on stderr: a terminal, a log, silence."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from dalcli.cli.streams import say
from dalcli.feedback import Feedback, Task

PLAIN_SECONDS = 10.0


def choose(quiet: bool) -> Feedback:
    """Bars on a terminal, occasional lines in a log, warnings only under ``--quiet``."""
    if quiet:
        return QuietFeedback()
    return TerminalFeedback() if sys.stderr is not None and sys.stderr.isatty() else PlainFeedback()


class QuietFeedback:
    """Warnings only."""

    def note(self, message: str) -> None:
        pass

    def warn(self, message: str) -> None:
        say(f"warning: {message}")

    @contextmanager
    def task(self, label: str, total: int | None, unit: str = "images") -> Iterator[Task]:
        yield _Counter()


class PlainFeedback(QuietFeedback):
    """For logs: a line every ten seconds and one at the end of anything that took that long."""

    def note(self, message: str) -> None:
        say(message)

    @contextmanager
    def task(self, label: str, total: int | None, unit: str = "images") -> Iterator[Task]:
        counter = _PlainTask(label, total, unit)
        yield counter
        counter.finish()


class TerminalFeedback(QuietFeedback):
    """For people: live bars with rate and remaining time."""

    def note(self, message: str) -> None:
        say(message)

    @contextmanager
    def task(self, label: str, total: int | None, unit: str = "images") -> Iterator[Task]:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[info]}"),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            bar = progress.add_task(label, total=total, rate="", info="")
            yield _Bar(progress, bar, unit)


class _Counter:
    """Counts, and knows the rate."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.done = 0
        self.info = ""

    def advance(self, amount: int = 1, info: str | None = None) -> None:
        self.done += amount
        self.info = self.info if info is None else info

    @property
    def seconds(self) -> float:
        return max(time.monotonic() - self.started, 1e-9)

    @property
    def rate(self) -> float:
        return self.done / self.seconds


class _PlainTask(_Counter):
    def __init__(self, label: str, total: int | None, unit: str) -> None:
        super().__init__()
        self.label, self.total, self.unit = label, total, unit
        self.last = self.started

    def advance(self, amount: int = 1, info: str | None = None) -> None:
        super().advance(amount, info)
        if time.monotonic() - self.last >= PLAIN_SECONDS:
            self.last = time.monotonic()
            self._line()

    def finish(self) -> None:
        if self.last != self.started:
            self._line()

    def _line(self) -> None:
        of = f"/{self.total}" if self.total is not None else ""
        text = f"{self.label}: {self.done}{of} {self.unit}, {_per_second(self.rate, self.unit)}"
        if self.total is not None and self.done:
            text += f", {_duration((self.total - self.done) / self.rate)} left"
        say(f"{text}  {self.info}".rstrip())


class _Bar(_Counter):
    def __init__(self, progress: object, bar: object, unit: str) -> None:
        super().__init__()
        self._progress, self._bar, self._unit = progress, bar, unit

    def advance(self, amount: int = 1, info: str | None = None) -> None:
        super().advance(amount, info)
        update = self._progress.update  # type: ignore[attr-defined]  # rich is imported only where it is shown
        update(self._bar, completed=self.done, info=self.info, rate=_per_second(self.rate, self._unit))


def _per_second(rate: float, unit: str) -> str:
    return f"{rate:.0f} {unit}/s" if rate >= 10 else f"{rate:.2g} {unit}/s"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
