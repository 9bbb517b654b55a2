"""A thread pool that keeps order, holds little, and stops when told.

Threads, not processes: Pillow and hashlib release the interpreter lock where they spend their time.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

# Enough queued work that one slow image does not starve the other threads, little enough to forget at once.
_QUEUED_PER_WORKER = 4


def default_workers() -> int:
    """Processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int | None = None
) -> Iterator[Result]:
    """``map(function, items)`` on ``workers`` threads (default: processor cores), in order, lazily.

    ``items`` are drawn only a few per worker ahead of what the caller has taken. Whatever ends the iteration (an
    exception of ``function``, Ctrl-C, the caller losing interest) drops the queue and waits only for the items
    that are being worked on.
    """
    count = workers or default_workers()
    executor = ThreadPoolExecutor(count, thread_name_prefix="dalcli-images")
    pending: deque[Future[Result]] = deque()
    try:
        for item in items:
            pending.append(executor.submit(function, item))
            if len(pending) >= count * _QUEUED_PER_WORKER:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
