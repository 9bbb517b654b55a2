"""Folders that this process may read and not write, even where root runs the tests."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_VERSION = 0x20080522  # _LINUX_CAPABILITY_VERSION_3
_PAST_PERMISSIONS = 0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH


@contextmanager
def only_readable(folder: Path) -> Iterator[None]:
    """Nobody may write ``folder`` or what is in it until the end; root is one of many meanwhile (this thread)."""
    everything = [folder, *folder.rglob("*")]
    modes = {path: path.stat().st_mode for path in everything if not path.is_symlink()}
    for path, mode in modes.items():
        path.chmod(mode & ~0o222)
    try:
        with _without_privileges():
            yield
    finally:
        for path, mode in modes.items():
            path.chmod(mode)


@contextmanager
def _without_privileges() -> Iterator[None]:
    if os.geteuid() != 0:
        yield
        return
    if sys.platform != "linux":
        pytest.skip("only Linux lets root give up its privileges for a while")
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_VERSION, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted and inheritable; twice 32 bits
    _checked(libc.capget(header, sets))
    effective = sets[0]
    sets[0] = effective & ~_PAST_PERMISSIONS
    _checked(libc.capset(header, sets))
    try:
        yield
    finally:
        sets[0] = effective
        _checked(libc.capset(header, sets))


def _checked(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), "capabilities")
