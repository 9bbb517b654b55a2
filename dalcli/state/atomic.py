"""Files that are either there, complete, or not there at all.

Write beside, fsync, rename, fsync the directory: after a power cut the old file or the new one is found,
never half of one. Temporary names start with a dot and end in ``.tmp``, so leftovers of a killed process are
recognisable and harmless.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

# safetensors is written in Rust and reports a full disk as an error of its own: "... (os error 28)".
_SYSTEM_ERROR = re.compile(r"\(os error (\d+)\)")


def write_bytes(path: Path, data: bytes) -> None:
    """Make ``data`` the content of ``path``, atomically and durably."""
    write_via(path, lambda temporary: _write_plain(temporary, data))


def write_via(path: Path, writer: Callable[[Path], object]) -> None:
    """Let ``writer`` fill a temporary file in the same folder, then make it ``path``, atomically and durably.

    Whatever ``writer`` raises (a full disk, Ctrl-C) leaves ``path`` as it was and removes the temporary file.
    """
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}.tmp")
    try:
        writer(temporary)
        _sync_file(temporary)
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        system_error = _SYSTEM_ERROR.search(str(error))
        if system_error is not None and not isinstance(error, OSError):
            number = int(system_error[1])
            raise OSError(number, os.strerror(number), str(path)) from error
        raise
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make renames and removals inside ``directory`` durable (a no-op where the system cannot)."""
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except OSError:  # Windows cannot open folders
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_plain(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)


def _sync_file(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
