"""Every way a command can end, as exceptions that carry their exit code.

The codes are a contract (cron scripts branch on them), so they live in one place. Each message is one or two
lines that say what happened, where, and what to do next; ``cli`` prints it and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum


class ExitCode(IntEnum):
    """Process exit status of every ``dalcli`` command."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    BAD_INPUT = 3
    LOCKED = 4
    NOT_READY = 5
    NOTHING_LEFT = 6
    # Verdicts of `plan --exit-code`: the command did what was asked. "continue" is DONE.
    TARGET_REACHED = 10
    INFEASIBLE = 11
    NEED_EVALUATION_LABELS = 12
    INSUFFICIENT_DATA = 13
    BUG = 70
    INTERRUPTED = 130
    TERMINATED = 143


class DalcliError(Exception):
    """An expected failure: ``message`` says what happened and where, ``remedy`` what to do about it."""

    exit_code: ExitCode = ExitCode.FAILED

    def __init__(self, message: str, remedy: str | None = None) -> None:
        super().__init__(message if remedy is None else f"{message}\n{remedy}")
        self.message = message
        self.remedy = remedy


class UsageError(DalcliError):
    """An option is unknown, out of range or contradicts another one."""

    exit_code = ExitCode.USAGE


class BadInputError(DalcliError):
    """Something the user handed over (config, labels, manifest, a named file) is wrong; nothing was changed.

    ``problems`` lists every single finding ("line 4: unknown class 'catt': did you mean 'cat'?"), so that a
    file is mended in one go instead of one error at a time.
    """

    exit_code = ExitCode.BAD_INPUT

    def __init__(self, message: str, remedy: str | None = None, problems: Sequence[str] = ()) -> None:
        super().__init__(message, remedy)
        self.problems = tuple(problems)


class LockedError(DalcliError):
    """A live process holds the compute lock."""

    exit_code = ExitCode.LOCKED


class NotReadyError(DalcliError):
    """A step that must come first has not happened; ``remedy`` names the command to run."""

    exit_code = ExitCode.NOT_READY


class NothingLeftError(DalcliError):
    """No sample is left to hand out."""

    exit_code = ExitCode.NOTHING_LEFT


class PeerError(DalcliError):
    """Another process of the same ``torchrun`` failed; it ended with ``exit_code``."""

    def __init__(self, message: str, remedy: str | None, exit_code: ExitCode) -> None:
        super().__init__(message, remedy)
        self.exit_code = exit_code


class ToldError(DalcliError):
    """The end of a process of a ``torchrun`` because of a failure that another one tells: nothing is to be printed.

    ``bug``: it was one of dalcli, here, and is the exception's cause.
    """

    def __init__(self, bug: bool = False) -> None:
        super().__init__("another process of this torchrun says what happened")
        self.bug = bug
