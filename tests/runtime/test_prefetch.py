"""Prefetching: order, bounds, errors, and no thread left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from dalcli.runtime.prefetch import prefetch


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


@pytest.mark.parametrize("depth", [1, 2, 7])
@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_items_come_in_order_from_another_thread(count: int, depth: int) -> None:
    threads = set()

    def items() -> Iterator[int]:
        for number in range(count):
            threads.add(threading.current_thread())
            yield number

    with prefetch(items(), depth) as prepared:
        assert list(prepared) == list(range(count))
    assert threading.main_thread() not in threads


def test_no_more_than_depth_items_are_prepared_ahead() -> None:
    made = []

    def items() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            yield number

    with prefetch(items(), depth=3) as prepared:
        for number in range(5):
            assert next(prepared) == number
            time.sleep(0.02)  # time enough to run ahead, if it could
            assert len(made) <= number + 1 + 3
    assert len(made) < 15


def test_work_overlaps() -> None:
    begun = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        begun.set()
        yield 2

    with prefetch(items()) as prepared:
        assert next(prepared) == 1
        assert begun.wait(5)  # the second is prepared although nobody asked for it yet


def test_errors_come_where_the_item_would_have_come() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise KeyboardInterrupt("stop")

    with prefetch(items()) as prepared:
        assert next(prepared) == 1
        with pytest.raises(KeyboardInterrupt, match="stop"):
            next(prepared)


def test_leaving_early_or_by_an_error_ends_the_thread() -> None:
    def forever() -> Iterator[int]:
        while True:
            yield 0

    with prefetch(forever()) as prepared:
        next(prepared)

    def slowly() -> Iterator[int]:
        while True:
            yield 0
            time.sleep(0.1)

    with prefetch(slowly()) as prepared:
        next(prepared)
    assert not [thread for thread in threading.enumerate() if thread.name == "dalcli-prefetch"]
    with pytest.raises(ValueError, match="mine"), prefetch(forever()):
        raise ValueError("mine")
    with prefetch(forever()):
        pass
