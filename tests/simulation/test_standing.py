"""What is read of a simulation, how often, and by whom at once."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from dalcli_runner import ok
from simulations import rows, things, write

from dalcli.feedback import SilentFeedback
from dalcli.simulation import records
from dalcli.simulation.config import load
from dalcli.simulation.data import open_dataset
from dalcli.simulation.dataset import Dataset
from dalcli.simulation.output import Output
from dalcli.simulation.records import CellRecord
from dalcli.simulation.schema import SourceConfig
from dalcli.simulation.sources.base import LabeledPixels
from dalcli.simulation.sources.registry import SOURCES

KEYS = {"seeds": 1, "rounds": 1, "accuracies": [0.5, 0.6]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("standing")
    things(root / "things", 8)
    return root


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, str]]:
    """How often this process reads each record: by its folder's name, and its own."""
    counted: Counter[tuple[str, str]] = Counter()
    real = records.read

    def counting(path: Path) -> CellRecord | None:
        counted[path.parent.name, path.name] += 1
        return real(path)

    monkeypatch.setattr(records, "read", counting)
    return counted


def test_every_record_is_read_once_to_print_and_again_only_where_another_process_may_have_written(
    folder: Path, reads: Counter[tuple[str, str]]
) -> None:
    write(folder / "c.yaml", **KEYS)

    def finished() -> dict[str, int]:
        return {name: count for (place, name), count in reads.items() if place == "cells"}

    ok(folder, "simulate", "c.yaml", "--jobs", "2", "-q")
    assert list(finished().values()) == [3] * 2  # before the lock, inside it, and once it is computed
    assert len(reads) == 2 + 2 + 1  # cells, their workspaces, that of their base
    assert all(count == 1 for (place, _), count in reads.items() if place != "cells")
    for arguments in ((), ("--report",), ("--dry-run",)):
        reads.clear()
        ok(folder, "simulate", "c.yaml", "-q", *arguments)
        assert list(reads.values()) == [1] * 2
        assert len(finished()) == 2

    write(folder / "more.yaml", **KEYS, strategies=["random", "margin", "entropy"])
    reads.clear()
    ok(folder, "simulate", "more.yaml", "-o", "c-results", "--jobs", "2", "-q")
    assert sorted(finished().values()) == [1] * 2 + [3]  # nobody reads again what is finished
    assert len(rows(folder / "c-results")) == 3 * 2


class Slow:
    """Eight shades of grey that come only when they may."""

    takes: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.begun, self.may_go_on, self.calls = threading.Event(), threading.Event(), 0

    def images(self, config: SourceConfig) -> Iterator[LabeledPixels]:
        self.calls += 1
        self.begun.set()
        assert self.may_go_on.wait(60)
        for shade in range(8):
            yield LabeledPixels(str(shade), np.full((2, 2), 30 * shade, np.uint8), str(shade % 2))


class Listening(SilentFeedback):
    def __init__(self) -> None:
        self.noted = threading.Event()
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)
        self.noted.set()


def test_two_that_start_at_once_write_the_images_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow()
    monkeypatch.setitem(SOURCES, "digits", slow)  # type: ignore[arg-type]  # a Mapping for all but this test
    simulation = load(write(tmp_path / "c.yaml", source="digits"))
    found: list[Dataset] = []

    def opening(feedback: Listening) -> threading.Thread:
        thread = threading.Thread(
            target=lambda: found.append(open_dataset(simulation, Output(simulation.output), feedback))
        )
        thread.start()
        return thread

    first, second = Listening(), Listening()
    threads = [opening(first)]
    assert slow.begun.wait(60)
    threads.append(opening(second))
    assert second.noted.wait(60)
    slow.may_go_on.set()
    for thread in threads:
        thread.join(60)
    assert slow.calls == 1
    assert second.notes == ["another `dalcli simulate` is writing the images: waiting for it"]
    assert not first.notes
    assert len(found) == 2
    assert found[0] == found[1]
    assert all(sample.path.is_file() for sample in found[1].samples)
    assert not list(simulation.output.rglob("*.partial"))
