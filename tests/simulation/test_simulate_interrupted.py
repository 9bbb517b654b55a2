"""A simulation that is killed, terminated, or started twice."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dalcli_runner import finish, ok, run, start
from simulations import rows, things, write

pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for child processes in /proc")
PATIENCE = 90.0


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == pid:
                found.append(int(entry.name))
    return found


def alive(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


KEYS: dict[str, Any] = {"seeds": 1, "rounds": 6, "batch_sizes": 2}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, a configuration, and its results without any interruption."""
    root = tmp_path_factory.mktemp("whole")
    things(root / "things", 10)
    ok(root, "simulate", write(root / "c.yaml", **KEYS), "--jobs", "1", "-q")
    return root


def test_killed_terminated_and_doubled_runs_end_in_the_same_table(tmp_path: Path, whole: Path) -> None:
    shutil.copytree(whole / "things", tmp_path / "things")
    config = write(tmp_path / "c.yaml", **KEYS)

    def rounds_done() -> int:
        files = (tmp_path / "parts" / "work" / "cells").glob("*/record.json")
        return max((path.read_text().count('"round"') for path in files), default=0)

    first = start(tmp_path, "simulate", config, "-o", "parts", "--jobs", "2", "-q")
    wait_until(lambda: rounds_done() >= 2)
    workers = children(first.pid)
    assert len(workers) == 2
    for worker in workers:  # they wait until we have looked
        os.kill(worker, signal.SIGSTOP)
    second = run(tmp_path, "simulate", config, "-o", "parts")
    assert second.code == 4
    assert "another `dalcli simulate` is running here" in second.err
    told = ok(tmp_path, "simulate", config, "-o", "parts", "--dry-run", "--json", "-q").json
    assert (told["cells"], told["done"], told["starts"]) == (2, 0, 0)
    assert 0 < told["rounds"] <= 2 * KEYS["rounds"] - 1
    for worker in workers:
        os.kill(worker, signal.SIGCONT)
    first.send_signal(signal.SIGTERM)
    ended = finish(first)
    assert (ended.code, ended.out) == (143, b"")
    assert "progress is kept" in ended.err
    wait_until(lambda: not any(map(alive, workers)))

    again = start(tmp_path, "simulate", config, "-o", "parts", "--jobs", "2", "-q")
    done = rounds_done()
    wait_until(lambda: rounds_done() > done or again.poll() is not None)
    workers = children(again.pid)
    again.kill()
    again.communicate()
    wait_until(lambda: not any(map(alive, workers)))

    ok(tmp_path, "simulate", config, "-o", "parts", "--jobs", "1", "-q")
    assert rows(tmp_path / "parts") == rows(whole / "c-results")
    assert not list((tmp_path / "parts" / "work" / "cells").iterdir())


def test_a_folder_that_was_moved_keeps_finished_cells_and_makes_new_ones(tmp_path: Path, whole: Path) -> None:
    moved = Path(shutil.copytree(whole, tmp_path / "moved"))
    write(moved / "c.yaml", **(KEYS | {"rounds": 1}), strategies=["random", "margin", "entropy"])
    told = ok(moved, "simulate", "c.yaml", "--dry-run", "--json", "-q").json
    assert (told["done"], told["cells"]) == (2, 3)
    ok(moved, "simulate", "c.yaml", "-q")
    found = rows(moved / "c-results")
    before = [row for row in rows(whole / "c-results") if row["round"] in "01"]
    assert [row for row in found if row["strategy"] != "entropy"] == before
    assert [row["labels"] for row in found if row["strategy"] == "entropy"] == ["6", "8"]
