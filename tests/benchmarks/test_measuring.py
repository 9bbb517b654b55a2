"""What the benchmarks measure memory and time with, against amounts that are known."""

from __future__ import annotations

import importlib
import sys
import time

import numpy as np
import pytest

MEBIBYTE = 2**20
linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak cannot be reset")


def measuring():
    return importlib.import_module("measuring")


@linux
def test_growth_is_what_was_touched():
    def touch() -> None:
        np.ones(48 * MEBIBYTE, np.uint8)

    assert measuring().growth(touch, "cpu") / MEBIBYTE == pytest.approx(48, abs=2)


@linux
def test_growth_is_the_peak_and_not_the_sum():
    def one_after_the_other() -> None:
        for _ in range(3):
            np.ones(32 * MEBIBYTE, np.uint8)

    assert measuring().growth(one_after_the_other, "cpu") / MEBIBYTE == pytest.approx(32, abs=2)


@linux
def test_what_was_held_or_had_been_freed_before_does_not_count():
    held = np.ones(16 * MEBIBYTE, np.uint8)
    np.ones(64 * MEBIBYTE, np.uint8)  # a higher peak than what follows
    assert measuring().growth(lambda: np.ones(24 * MEBIBYTE, np.uint8), "cpu") / MEBIBYTE == pytest.approx(24, abs=2)
    assert held.all()


@linux
def test_growth_in_a_fresh_process_is_the_same():
    found = measuring()
    assert found.in_fresh_process(found.growth_of_filling, 48 * MEBIBYTE) / MEBIBYTE == pytest.approx(48, abs=2)


def test_medians_leave_out_the_warming_turn_and_rare_ones_take_fewer_turns():
    calls: list[str] = []

    def slow_once() -> None:
        if calls.count("a") == 0:
            time.sleep(0.05)
        calls.append("a")

    seconds = measuring().interleaved({"a": slow_once, "b": lambda: calls.append("b")}, 3, {"b": 1})
    assert calls == ["a", "b", "a", "b", "a", "a"]
    assert seconds["a"] < 0.05


def test_a_device_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as refusal:
        measuring().parser(None).parse_args(["--device", "cuda:99"])
    assert refusal.value.code == 2
    assert "device" in capsys.readouterr().err
