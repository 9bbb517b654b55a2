"""What processes say to each other arrives as it was said."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from dalcli.simulation.tasks import (
    BaseTask,
    CellTask,
    RoundDone,
    TaskDone,
    TaskFailed,
    WorkerEvent,
    WorkerTask,
    event_of,
    line_of,
    task_of,
)

HERE = Path("/results \udce9/é\n")  # bytes that are no text, and a line end, can be in a name
BASE = BaseTask(
    root=HERE / "base",
    draw=HERE / "draw",
    cache=HERE / "cache",
    log=HERE / "log",
    classes=("cat", "7", "é"),
    settings={"seed": 2**62, "query": {"gamma": math.inf}, "data": {"image_size": [8, 8]}, "model": None},
    budget=6,
)
CELL = CellTask(
    root=HERE / "cell",
    base=HERE / "base",
    draw=HERE / "draw",
    log=HERE / "log",
    record=HERE / "cell.json",
    title="dynamical gamma=inf",
    classes=("cat", "dog"),
    query={"strategy": "dynamical", "gamma": math.inf, "closed": False, "fraction": 0.1 + 0.2},
    budget=4,
    rounds=0,
    keep=True,
)


@pytest.mark.parametrize("task", [BASE, CELL, replace(CELL, keep=False)])
def test_tasks_come_back_as_they_were_on_one_line(task: WorkerTask) -> None:
    line = line_of(task)
    assert line.isascii()
    assert line.index("\n") == len(line) - 1
    assert task_of(line) == task


@pytest.mark.parametrize("event", [RoundDone(12, 1 / 3), TaskDone(), TaskFailed(f"{HERE}: gone\nfor good")])
def test_events_come_back_as_they_were_on_one_line(event: WorkerEvent) -> None:
    line = line_of(event)
    assert line.index("\n") == len(line) - 1
    assert event_of(line) == event


@pytest.mark.parametrize("line", ["", '{"kind": "other"}', line_of(BASE)[:-9], line_of(TaskDone())])
def test_what_is_no_task_is_refused(line: str) -> None:
    with pytest.raises(ValueError):
        task_of(line)
