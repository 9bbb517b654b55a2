"""How the C library's allocator is used, where that is glibc's: its defaults suit programs with small objects.

Two habits cost a training or scoring process much. Every thread gets an arena of its own: with a pass per thread each
keeps the peak of its own past, and a batch takes up to a third more memory (vgg11, 128 images: 554 against 402 MiB).
And large blocks go back to the system as soon as they are freed, to be zeroed page by page when the next step asks for
them again (docs/benchmarks.md, "The allocator").
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache

# malloc.h
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
M_ARENA_MAX = -8

LARGEST_KEPT = 1 << 30
MOST_KEPT = (1 << 31) - 1  # what an int holds


@cache
def share_heap() -> None:
    """One heap for all threads: what one has freed serves the others. Large tensors are few, so one lock will do.

    Asked for first thing: the C library counts its arenas once, when the first thread wants one.
    """
    _set(M_ARENA_MAX, 1)


@cache
def keep_freed_memory() -> None:
    """What a step has freed stays with the process for the next one, until it ends; peaks grow little.

    An older glibc that refuses so large a threshold goes on as before.
    """
    if _set(M_MMAP_THRESHOLD, LARGEST_KEPT):
        _set(M_TRIM_THRESHOLD, MOST_KEPT)


def _set(option: int, value: int) -> bool:
    """Whether the C library knows how, and did it."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    return mallopt is not None and bool(mallopt(option, value))
