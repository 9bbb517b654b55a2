"""``--until``: when the night ends, and what cuts a long step off then."""

from __future__ import annotations

import signal
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import FrameType

from dalcli.errors import UsageError

_AGAIN = 0.1
"""Seconds until it is looked whether what was raised is still on its way."""


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
        previous = signal.signal(signal.SIGALRM, _Raising())
        signal.setitimer(signal.ITIMER_REAL, max(self.at - time.time(), 1e-3), _AGAIN)
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


class _Raising:
    """Raises once, and again where that was lost.

    Python drops what is raised inside a ``__del__`` or a callback of a weak reference or the garbage collector. One
    that is on its way lives, and what it sets off on the way is left to end.
    """

    def __init__(self) -> None:
        self._raised: weakref.ref[DeadlinePassed] | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self._raised is None or self._raised() is None:
            passed = DeadlinePassed()
            self._raised = weakref.ref(passed)
            try:
                raise passed
            finally:
                del passed  # this frame is on its traceback: it would hold it for ever
