"""Interrupted and resumed runs end in the same weights, bit for bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from training_runs import FailingPixels, Interrupted, RecordingFeedback, build, run, same_weights, striped

from dalcli.models.checkpoint import load_model
from dalcli.models.tensorfile import read_tensors, write_tensors
from dalcli.training.batches import TrainingData
from dalcli.training.loop import FitResult
from dalcli.training.resume import WriteBudget

DATA = striped(45)  # batches of 16, 16, 13 and one measurement of 45: four reads an epoch
ANYWHERE = (2, 3, 4, 6, 11, 15)  # in the first epoch, in a measurement, at a boundary, later
CASES: list[tuple[str, tuple[int, ...], dict[str, Any]]] = [
    ("cnn", ANYWHERE, {"optimizer": "adam", "schedule": "cosine"}),
    ("cnn", ANYWHERE, {"optimizer": "sgd", "momentum": 0.9, "augmentation": "crop-flip", "schedule": "step"}),
    ("normed", ANYWHERE, {"optimizer": "sgd", "momentum": 0.9, "augmentation": "flip"}),
    ("normed", ANYWHERE, {"optimizer": "adamw", "weight_decay": 0.01, "augmentation": "crop-flip"}),
    ("resnet18", (6, 11), {"optimizer": "adam", "max_epochs": 3}),
    ("resnet18", (5,), {"optimizer": "sgd", "momentum": 0.9, "max_epochs": 2}),
]


@pytest.fixture(autouse=True)
def write_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WriteBudget, "due", lambda self: True)


@pytest.mark.parametrize(("name", "interruptions", "settings"), CASES)
def test_interrupted_anywhere_the_weights_are_the_same(
    tmp_path: Path, name: str, interruptions: tuple[int, ...], settings: dict[str, Any]
) -> None:
    whole = build(name, dropout=0.3)
    expected = run(whole, DATA, **settings)
    for reads in interruptions:
        path = tmp_path / f"{reads}.safetensors"
        with pytest.raises(Interrupted):
            broken = TrainingData(FailingPixels(DATA, at=reads), DATA.labels)
            run(build(name, dropout=0.3), broken, checkpoint=path, **settings)
        model = build(name, dropout=0.3)
        result = run(model, DATA, checkpoint=path, **settings)
        assert result.resumed_from_epoch == reads // 4
        assert same_weights(model, whole)
        assert result.history == expected.history


def test_several_interruptions_by_the_progress_display(tmp_path: Path) -> None:
    whole = build("normed", dropout=0.3)
    expected = run(whole, DATA, max_epochs=5)
    path = tmp_path / "o.safetensors"
    for epoch in (1, 3, 4):
        model = build("normed", dropout=0.3)
        with pytest.raises(Interrupted):
            run(model, DATA, checkpoint=path, max_epochs=5, feedback=RecordingFeedback(stop_at=epoch))
    model = build("normed", dropout=0.3)
    feedback = RecordingFeedback()
    result = run(model, DATA, checkpoint=path, max_epochs=5, feedback=feedback)
    assert result.resumed_from_epoch == 4
    assert [amount for amount, _ in feedback.steps] == [4, 1]
    assert same_weights(model, whole)
    assert result.history == expected.history


def test_a_run_that_had_ended_is_not_continued(tmp_path: Path) -> None:
    path = tmp_path / "o.safetensors"
    whole, model = build(), build()
    first = run(whole, DATA, checkpoint=path, max_epochs=60, hold_epochs=2, learning_rate=0.01)
    again = run(model, DATA, checkpoint=path, max_epochs=60, hold_epochs=2, learning_rate=0.01)
    assert first.stopped == "converged"
    assert again == FitResult(**{**vars(first), "resumed_from_epoch": first.epochs})
    assert same_weights(model, whole)


SCRIPT = """
import sys, time
from pathlib import Path
from dalcli.models.checkpoint import save_model
from dalcli.training.batches import TrainingData
from dalcli.training.resume import WriteBudget
from training_runs import DelegatingPixels, RecordingFeedback, build, run, striped

WriteBudget.due = lambda self: True

class Hanging(DelegatingPixels):
    def read(self, rows):
        if self.reads == 10:  # in the third epoch: the kill finds it there, however slow the machine
            print("hanging", flush=True)
            time.sleep(600)
        return super().read(rows)

data, checkpoint, result, hang = striped(45), Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "hang"
if hang:
    data = TrainingData(Hanging(data.pixels), data.labels)
model = build("normed", dropout=0.3)
print(run(model, data, checkpoint=checkpoint).resumed_from_epoch)
save_model(result, model)
"""


def test_a_killed_process_continues_to_the_same_weights(tmp_path: Path) -> None:
    here = Path(__file__).parent
    checkpoint, result = tmp_path / "o.safetensors", tmp_path / "m.safetensors"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here), str(here.parents[1])])}

    def start(how: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", SCRIPT, str(checkpoint), str(result), how]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    with start("hang") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "hanging\n"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not result.exists()
    with start("continue") as process:
        assert process.communicate()[0] == "2\n"
    whole, continued = build("normed", dropout=0.3), build("normed")
    run(whole, DATA)
    load_model(result, continued)
    assert same_weights(whole, continued)


def interrupted(path: Path, **settings: Any) -> None:
    with pytest.raises(Interrupted):
        run(build(), DATA, checkpoint=path, feedback=RecordingFeedback(stop_at=2), **settings)


def fresh_and_resumed(path: Path, feedback: RecordingFeedback, **settings: Any) -> tuple[FitResult, bool]:
    whole, model = build(), build()
    run(whole, DATA)
    result = run(model, DATA, checkpoint=path, feedback=feedback, **settings)
    return result, same_weights(whole, model)


def test_another_fingerprint_starts_afresh_with_a_note(tmp_path: Path) -> None:
    path, feedback = tmp_path / "o.safetensors", RecordingFeedback()
    interrupted(path, fingerprint="old")
    result, same = fresh_and_resumed(path, feedback, fingerprint="new")
    assert result.resumed_from_epoch == 0
    assert same
    assert "starts again" in feedback.notes[0]
    assert read_tensors(path)[1]["place"]["fingerprint"] == "new"


@pytest.mark.parametrize("kind", ["truncated", "foreign", "empty"])
def test_a_damaged_checkpoint_starts_afresh_with_a_warning(tmp_path: Path, kind: str) -> None:
    path, feedback = tmp_path / "o.safetensors", RecordingFeedback()
    interrupted(path)
    if kind == "foreign":
        write_tensors(path, {"a": torch.zeros(1)}, {"not": "ours"})
    else:
        path.write_bytes(path.read_bytes()[:-100] if kind == "truncated" else b"")
    result, same = fresh_and_resumed(path, feedback)
    assert (result.resumed_from_epoch, same) == (0, True)
    assert "damaged" in feedback.warnings[0]
    assert read_tensors(path)[1]["history"]


def test_another_architecture_under_the_same_fingerprint_starts_afresh(tmp_path: Path) -> None:
    path, feedback = tmp_path / "o.safetensors", RecordingFeedback()
    with pytest.raises(Interrupted):
        run(build(classes=4), DATA, checkpoint=path, feedback=RecordingFeedback(stop_at=2))
    result, same = fresh_and_resumed(path, feedback)
    assert (result.resumed_from_epoch, same) == (0, True)
    assert "model changed" in feedback.warnings[0]


def test_another_number_of_threads_is_said(tmp_path: Path) -> None:
    path, feedback = tmp_path / "o.safetensors", RecordingFeedback()
    interrupted(path)
    tensors, metadata = read_tensors(path)
    metadata["place"]["threads"] = 3
    write_tensors(path, tensors, metadata)
    result, _ = fresh_and_resumed(path, feedback)
    assert result.resumed_from_epoch == 2
    assert "with 3 threads and continues on cpu with 1" in feedback.notes[0]


def test_writing_costs_at_most_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    budget, writes, written = WriteBudget(share=0.05), [], 0.0
    for epoch in range(1000):
        now[0] += 0.1  # an epoch
        if budget.due():
            with budget.writing():
                now[0] += 0.5
            written += 0.5
            writes.append(epoch)
    assert writes[0] == 0
    assert 5 <= len(writes) <= 12
    assert (written - 0.5) / now[0] <= 0.05
    assert max(b - a for a, b in pairwise(writes)) <= 100  # and no less than it may
