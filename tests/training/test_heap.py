"""In processes of their own: the C library keeps what it is told, and forgets nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

SIZE = 64 << 20
RESIDENT = f"""
import ctypes, sys
from dalcli.training import heap

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

if sys.argv[1] == "kept":
    heap.keep_freed_memory()
before = resident()
for turn in range(3):
    block = bytearray({SIZE})
    for at in range(0, {SIZE}, 4096):
        block[at] = 1
    del block
print(resident() - before)
"""


def grown(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", RESIDENT, how], check=True, capture_output=True, text=True)
    return int(done.stdout)


def _glibc() -> bool:
    return sys.platform == "linux" and not list(Path("/lib").glob("ld-musl-*"))


@pytest.mark.skipif(not _glibc(), reason="only glibc can be told")
def test_freed_memory_stays_with_the_process_once_asked_to() -> None:
    assert grown("left") < SIZE / 4
    assert SIZE * 3 / 4 < grown("kept") < SIZE * 5 / 4


def test_asking_is_harmless_where_the_c_library_does_not_know_how(monkeypatch: pytest.MonkeyPatch) -> None:
    from dalcli.training import heap

    monkeypatch.setattr(sys, "platform", "darwin")
    for ask in (heap.keep_freed_memory, heap.share_heap):
        ask.__wrapped__()
