"""Commands in processes of their own that die, hang or fail at a chosen call.

A fork server that has imported torch once makes them start in milliseconds.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from tests.small_pools import Outcome, SmallPool

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["dalcli.cli.app", "dalcli.cli.render", "dalcli.training.version", "dalcli.scoring.run"]
)
PATIENCE = 60.0


class Patch(Protocol):
    """A change to the program, applied inside the process."""

    def apply(self) -> None: ...


@dataclass(frozen=True)
class SignalAtCall:
    """The process sends itself a signal just before the n-th call of ``module:attribute``."""

    target: str
    number: int = 1
    signal: int = signal.SIGKILL

    def apply(self) -> None:
        _intercept(self.target, self.number, lambda: os.kill(os.getpid(), self.signal))


@dataclass(frozen=True)
class HangAtCall:
    """The process makes ``marker`` and waits until it has gone, just before the n-th call of ``module:attribute``."""

    target: str
    marker: Path
    number: int = 1

    def apply(self) -> None:
        _intercept(self.target, self.number, self._hang)

    def _hang(self) -> None:
        self.marker.touch()
        wait_until(lambda: not self.marker.exists())


@dataclass(frozen=True)
class FailAtCall:
    """The n-th call of ``module:attribute`` raises."""

    target: str
    error: BaseException
    number: int = 1

    def apply(self) -> None:
        _intercept(self.target, self.number, self._fail)

    def _fail(self) -> None:
        raise self.error


@dataclass(frozen=True)
class DeleteAtCall:
    """A file goes just before the n-th call of ``module:attribute``."""

    target: str
    path: Path
    number: int = 1

    def apply(self) -> None:
        _intercept(self.target, self.number, self.path.unlink)


@dataclass(frozen=True)
class EveryEpoch:
    """A checkpoint after every epoch, however fast the epochs are."""

    def apply(self) -> None:
        from dalcli.training.resume import WriteBudget

        WriteBudget.due = lambda self: True  # type: ignore[method-assign]


@dataclass
class Running:
    """A command in another process."""

    process: Any
    folder: Path

    def finish(self) -> Outcome:
        """Wait for the end; a signal is a negative exit code."""
        self.process.join(PATIENCE)
        assert self.process.exitcode is not None, "the command hangs"
        return Outcome(self.process.exitcode, (self.folder / "out").read_text(), (self.folder / "err").read_text())

    def kill(self) -> None:
        self.process.kill()
        self.process.join(PATIENCE)


def start(pool: SmallPool, arguments: list[str], *patches: Patch, logs: Path | None = None) -> Running:
    """``dalcli ARGUMENTS`` on ``pool`` in another process, with ``patches`` applied; its output goes to ``logs``."""
    folder = (logs or pool.root.parent) / f"process-{time.monotonic_ns()}"
    folder.mkdir()
    process = _CONTEXT.Process(target=_command, args=([*arguments, "-C", str(pool.root)], folder, patches))
    process.start()
    return Running(process, folder)


def run(pool: SmallPool, arguments: list[str], *patches: Patch, logs: Path | None = None) -> Outcome:
    """:func:`start` and wait for the end."""
    return start(pool, arguments, *patches, logs=logs).finish()


def wait_until(condition: Callable[[], bool]) -> None:
    """Look again and again; fails after a minute."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


def _command(arguments: list[str], folder: Path, patches: tuple[Patch, ...]) -> None:
    import torch

    from dalcli.cli.main import main

    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT), number)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
    torch.set_num_threads(1)
    for patch in patches:
        patch.apply()
    sys.exit(main(arguments))


def _intercept(target: str, number: int, action: Callable[[], None]) -> None:
    module, _, path = target.partition(":")
    owner: Any = import_module(module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    original = getattr(owner, name)
    calls = count(1)

    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == number:
            action()
        return original(*args, **kwargs)

    setattr(owner, name, wrapper)
