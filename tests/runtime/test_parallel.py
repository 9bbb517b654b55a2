import os
import signal
import time
from collections.abc import Iterator

import pytest

from dalcli.runtime.parallel import default_workers, ordered_map


def test_keeps_the_order_however_long_each_item_takes() -> None:
    def slow_at_first(number: int) -> int:
        time.sleep(0.02 if number % 7 == 0 else 0)
        return number * number

    assert list(ordered_map(slow_at_first, range(50), workers=4)) == [number * number for number in range(50)]


def test_draws_only_a_few_items_ahead() -> None:
    drawn = 0

    def endless() -> Iterator[int]:
        nonlocal drawn
        while True:
            drawn += 1
            yield drawn

    results = ordered_map(lambda item: item, endless(), workers=2)
    assert [next(results) for _ in range(10)] == list(range(1, 11))
    assert drawn <= 10 + 2 * 4
    results.close()  # type: ignore[attr-defined]


def test_an_exception_reaches_the_caller_and_drops_the_queue() -> None:
    done = []

    def work(number: int) -> None:
        if number == 0:
            raise RuntimeError("first")
        time.sleep(0.01)
        done.append(number)

    with pytest.raises(RuntimeError, match="first"):
        list(ordered_map(work, range(1000), workers=2))
    assert len(done) <= 8


def test_ctrl_c_stops_promptly() -> None:
    done = []

    def work(number: int) -> None:
        if number == 20:
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
        done.append(number)

    with pytest.raises(KeyboardInterrupt):
        list(ordered_map(work, range(10_000), workers=2))
    assert len(done) < 1000


def test_no_items_no_results() -> None:
    assert list(ordered_map(str, [], workers=3)) == []


def test_default_is_the_cores_at_hand() -> None:
    assert 1 <= default_workers() <= (os.cpu_count() or 1)
