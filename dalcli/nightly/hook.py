"""``run.after``: a command that hears of the night; whatever becomes of it, the night is over."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_SAID = 500


@dataclass(frozen=True)
class HookReport:
    """``problem`` None: it ended with 0."""

    command: tuple[str, ...]
    problem: str | None
    said: str


def tell(command: Sequence[str], document: bytes, workspace: Path, timeout: float) -> HookReport:
    """Run ``command`` in the workspace, ``document`` on its standard input; its whole family ends at the time-out."""
    environment = {**os.environ, "DALCLI_WORKSPACE": str(workspace)}
    with tempfile.TemporaryFile() as told, tempfile.TemporaryFile() as said:
        told.write(document)
        told.seek(0)
        try:
            process = subprocess.Popen(
                list(command), stdin=told, stdout=said, stderr=subprocess.STDOUT, cwd=workspace, env=environment,
                start_new_session=True,
            )  # fmt: skip
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            return HookReport(tuple(command), f"cannot be run: {reason}", "")
        try:
            status = process.wait(timeout)
            problem = None if status == 0 else f"ended with {status}"
        except subprocess.TimeoutExpired:
            problem = f"took longer than {timeout:g} seconds"
        finally:
            _end(process)
        said.seek(0)
        text = said.read()[-_SAID:].decode(errors="replace").strip()
    return HookReport(tuple(command), problem, text)


def _end(process: subprocess.Popen[bytes]) -> None:
    """It and what it started in its own session."""
    if process.poll() is None:
        with suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
        process.wait()
