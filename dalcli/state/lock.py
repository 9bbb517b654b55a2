"""Locks between processes: operating-system locks, so none can outlive its process."""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from dalcli.errors import LockedError
from dalcli.state import read_only
from dalcli.state.database import now


@contextmanager
def file_lock(path: Path, refusal: Callable[[], LockedError], wait: float = 0.0) -> Iterator[None]:
    """Hold the lock at ``path``; wait up to ``wait`` seconds for it.

    Raises:
        LockedError: what ``refusal`` says, asked only when a live process still holds the lock, or has just moved the
            folder it is in.
        DalcliError: this user may not write there.
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout=wait)
    except (Timeout, FileNotFoundError):
        raise refusal() from None
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise read_only.refusal(path) from error
        raise
    try:
        yield
    finally:
        lock.release()


@contextmanager
def compute_lock(path: Path, command: str, wait: float = 0.0) -> Iterator[None]:
    """One ``train`` or ``score`` at a time in a workspace; who computes is text beside the lock, for people.

    Raises:
        LockedError: another one still computes after ``wait`` seconds.
    """
    holder = path.with_suffix(".json")

    def refusal() -> LockedError:
        return LockedError(
            f"the workspace is locked by {_holder(holder)}", "wait for it to end, or pass --wait SECONDS"
        )

    with file_lock(path, refusal, wait):
        try:
            holder.write_text(
                json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "command": command, "since": now()})
            )
            yield
        finally:
            holder.unlink(missing_ok=True)


def _holder(path: Path) -> str:
    try:
        facts = json.loads(path.read_text())
        return f"`dalcli {facts['command']}` (process {facts['pid']} on {facts['host']}, since {facts['since']})"
    except (OSError, ValueError, KeyError, TypeError):  # it is only text for people, and may be just being written
        return "another process"
