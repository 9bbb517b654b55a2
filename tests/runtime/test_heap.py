"""In processes of their own: the C library keeps what it is told, and forgets nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

from dalcli.runtime import heap

SIZE = 64 << 20
RESIDENT = f"""
import ctypes, sys
from dalcli.runtime import heap

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


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_other_systems_are_not_asked(monkeypatch: pytest.MonkeyPatch, platform: str) -> None:
    asked: list[object] = []
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(heap.ctypes, "CDLL", asked.append)
    for ask in (heap.keep_freed_memory, heap.share_heap):
        ask.__wrapped__()
    assert not asked


def test_a_c_library_without_the_option_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda _: object())
    heap.keep_freed_memory.__wrapped__()


def test_a_threshold_that_is_refused_leaves_the_other_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    class Library:
        def mallopt(self, option: int, value: int) -> int:
            asked.append(option)
            return 0

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda _: Library())
    heap.keep_freed_memory.__wrapped__()
    assert asked == [heap.M_MMAP_THRESHOLD]
