"""``--until``: when the night ends, and what cuts a long step off then."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import FrameType
from typing import NoReturn

from dalcli.errors import UsageError

AGAIN = 10.0
"""Seconds; longer than any clean-up takes that the first time sets off."""


class DeadlinePassed(BaseException):
    """Raised in the middle of a step as Ctrl-C is: every ``finally`` runs, checkpoints stay."""


@dataclass(frozen=True)
class Deadline:
    """A moment, in seconds since 1970; None: never."""

    at: float | None = None

    @property
    def passed(self) -> bool:
        return self.at is not None and time.time() >= self.at

    @contextmanager
    def cuts_off(self) -> Iterator[None]:
        """Raise :class:`DeadlinePassed` inside the block when the moment comes.

        Where the system has no such timer, or outside the main thread, the block runs to its end.
        """
        if self.at is None or not hasattr(signal, "setitimer") or not _in_main_thread():
            yield
            return
        previous = signal.signal(signal.SIGALRM, _raise)
        # Again and again, rarely: what is raised inside the garbage collector's callbacks or a __del__ is lost.
        signal.setitimer(signal.ITIMER_REAL, max(self.at - time.time(), 1e-3), AGAIN)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)


def next_time(text: str, now: datetime) -> Deadline:
    """The next moment at which clocks begin to show ``HH:MM``, or this minute's beginning if they show it now.

    A night that starts a little late must not go on for a day. ``now`` is local time.

    Raises:
        UsageError: it is no such time.
    """
    try:
        clock = datetime.strptime(text.strip(), "%H:%M").time()
    except ValueError:
        raise UsageError(f"--until {text}: not a time of day", "write it as 06:00 (hours, minutes)") from None
    over = clock < now.time().replace(second=0, microsecond=0)
    day = now.date() + timedelta(days=1) if over else now.date()
    return Deadline(datetime.combine(day, clock, tzinfo=now.tzinfo).timestamp())


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _raise(number: int, frame: FrameType | None) -> NoReturn:
    raise DeadlinePassed
