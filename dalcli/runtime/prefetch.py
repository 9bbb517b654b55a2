"""Prepare the next items in a background thread while the current one is being worked on."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")


@contextmanager
def prefetch(items: Iterable[T], depth: int = 2) -> Iterator[Iterator[T]]:
    """Iterate over ``items`` with at most ``depth`` of them prepared ahead::

        with prefetch(read_batches()) as batches:
            for batch in batches: ...

    Order is kept. What ``items`` raises is raised where the item would have come. On leaving, however that
    happens, the thread has ended; an item being prepared is waited for, no further one is begun.
    """
    worker = _Worker(items, depth)
    worker.thread.start()
    try:
        yield worker.results()
    finally:
        worker.stop()


class _Failure:
    def __init__(self, error: BaseException) -> None:
        self.error = error


class _End:
    pass


class _Worker(Generic[T]):
    def __init__(self, items: Iterable[T], depth: int) -> None:
        self._items = items
        self._free = threading.Semaphore(depth)
        self._ready: SimpleQueue[T | _Failure | _End] = SimpleQueue()
        self._stopped = False
        self.thread = threading.Thread(target=self._produce, name="dalcli-prefetch", daemon=True)

    def results(self) -> Iterator[T]:
        while not isinstance(item := self._ready.get(), _End):
            if isinstance(item, _Failure):
                raise item.error
            self._free.release()
            yield item

    def stop(self) -> None:
        self._stopped = True
        self._free.release()  # the thread may be waiting for room
        self.thread.join()

    def _produce(self) -> None:
        try:
            iterator = iter(self._items)
            while self._free.acquire() and not self._stopped:
                try:
                    self._ready.put(next(iterator))
                except StopIteration:
                    break
        except BaseException as error:
            self._ready.put(_Failure(error))
        else:
            self._ready.put(_End())
