"""The compute lock: one ``train`` or ``score`` at a time in a workspace.

An operating-system lock, so it cannot outlive its process; who holds it is text beside it, for people.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from dalcli.errors import LockedError
from dalcli.state.database import now


@contextmanager
def compute_lock(path: Path, command: str, wait: float = 0.0) -> Iterator[None]:
    """Hold the lock at ``path`` while ``command`` computes; wait up to ``wait`` seconds for it.

    Raises:
        LockedError: a live process still holds it.
    """
    lock = FileLock(path)
    holder = path.with_suffix(".json")
    try:
        lock.acquire(timeout=wait)
    except Timeout:
        raise LockedError(
            f"the workspace is locked by {_holder(holder)}", "wait for it to end, or pass --wait SECONDS"
        ) from None
    try:
        holder.write_text(
            json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "command": command, "since": now()})
        )
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _holder(path: Path) -> str:
    try:
        facts = json.loads(path.read_text())
        return f"`dalcli {facts['command']}` (process {facts['pid']} on {facts['host']}, since {facts['since']})"
    except (OSError, ValueError, KeyError, TypeError):  # it is only text for people, and may be just being written
        return "another process"
