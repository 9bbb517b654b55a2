"""Files and folders that are either there, complete, or not there at all.

Write beside, fsync, rename, fsync the directory: after a power cut the old file or the new one is found,
never half of one. Temporary files' names start with a dot and end in ``.tmp``, so leftovers of a killed process are
recognisable and harmless; those of folders end in ``.partial``, and the next try removes them.
"""

from __future__ import annotations

import glob
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

# safetensors is written in Rust and reports a full disk as an error of its own: "... (os error 28)".
_SYSTEM_ERROR = re.compile(r"\(os error (\d+)\)")
_MANY = 200  # files that are not made durable one by one: that would take minutes for 60,000


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


def remove_leftovers(path: Path) -> None:
    """Delete what killed processes began to write as ``path``; only for who alone writes it."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.????????.tmp"):
        with suppress(OSError):
            leftover.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """An empty folder to be filled; at the end of the block it becomes ``path``, atomically and durably.

    Whatever the block raises leaves no ``path`` and removes the folder. The caller sees to it that nobody else makes
    the same ``path`` meanwhile.

    Raises:
        OSError: ``path`` is there already (unless it is an empty folder).
    """
    partial = path.with_name(f"{path.name}.partial")
    if partial.exists():  # a killed process could not
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    try:
        yield partial
        _sync_tree(partial)
        partial.rename(path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
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


def _sync_tree(folder: Path) -> None:
    """All files and folders below ``folder``; what links lead to is somebody else's."""
    walked = [(Path(place), names) for place, _, names in os.walk(folder)]
    files = [place / name for place, names in walked for name in names if not (place / name).is_symlink()]
    if len(files) > _MANY and hasattr(os, "sync"):
        os.sync()
        return
    for file in files:
        _sync_file(file)
    for place, _ in walked:
        sync_directory(place)
