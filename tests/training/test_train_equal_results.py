"""Training by several ranks gives what one process gives, but for rounding; and itself again, bit for bit."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dalcli.config.training import TrainingConfig
from dalcli.data.pixels import ArrayPixels, Failure, IntArray, UInt8Array, UnreadableImagesError
from dalcli.feedback import SilentFeedback
from dalcli.models import zoo
from dalcli.models.meta import EpochRecord
from dalcli.models.preprocess import PixelStats
from dalcli.models.spec import ModelSpec
from dalcli.models.tensorfile import read_tensors
from dalcli.runtime.ranks import SOLO, Ranks
from dalcli.training import loop
from dalcli.training.batches import TrainingData, training_batches
from dalcli.training.epoch import train_epoch
from dalcli.training.loop import FitResult, fit
from dalcli.training.precision import MixedPrecision
from dalcli.training.resume import WriteBudget
from tests.train_groups import in_group, one_thread

SGD = {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 1e-3, "learning_rate": 0.02}
ONE_STEP = {"optimizer": "sgd", "momentum": 0.0, "learning_rate": 1.0, "batch_size": 64, "max_epochs": 1}
ADAM = {"optimizer": "adam", "learning_rate": 1e-3}


class Odd(nn.Module):
    """A user's model: BatchNorm over 1-d features, a parameter never used, one frozen, and a counter in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        # No bias before BatchNorm: its gradient is rounding error, which Adam would make a full step of.
        self.layer, self.norm = nn.Linear(192, 16, bias=False), nn.BatchNorm1d(16, momentum=None)
        self.head = nn.Linear(16, 3)
        self.idle = nn.Parameter(torch.ones(3))
        self.frozen = nn.Parameter(torch.full((16,), 2.0), requires_grad=False)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            self.seen += len(images)
        features = self.norm(self.layer(images.reshape(images.shape[0], -1)))  # -1 refuses batches of no image
        logits: Tensor = self.head(torch.relu(features * self.frozen))
        return logits


class Double(nn.Module):
    """Another model in float64, where no rounding error switches a ReLU."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model.double()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images.double())
        return logits


@dataclass(frozen=True)
class Case:
    name: str
    settings: dict[str, Any]
    images: int = 45
    side: int = 8
    dropout: float = 0.0
    double: bool = False
    broken: int | None = None  # the rank that cannot read image 5
    defaults: dict[str, Any] = field(
        default_factory=lambda: {"max_epochs": 3, "batch_size": 16, "accuracy_threshold": 1.0, "augmentation": "flip"}
    )

    def model(self) -> nn.Module:
        if self.name == "odd":
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(4)
                return Odd()
        model = zoo.build(ModelSpec(self.name, 3, (self.side, self.side), dropout=self.dropout), seed=4)
        return Double(model) if self.double else model

    def data(self, ranks: Ranks) -> TrainingData:
        rng = np.random.default_rng(0)
        labels = rng.integers(0, 3, self.images)
        pixels = rng.integers(0, 120, (self.images, self.side, self.side, 3), dtype=np.uint8)
        pixels[np.arange(self.images), :, :, labels] += 120
        source = ArrayPixels(pixels) if ranks.rank != self.broken else Broken(pixels)
        return TrainingData(source, labels.astype(np.int64))


class Broken(ArrayPixels):
    def read(self, rows: IntArray) -> UInt8Array:
        if 5 in rows:
            raise UnreadableImagesError([Failure(5, "five.png", "gone", missing=True)])
        return super().read(rows)


Outcome = tuple[FitResult, dict[str, Tensor]]


class RecordingFeedback(SilentFeedback):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def trained(
    ranks: Ranks, case: Case, checkpoint: Path | None = None, feedback: SilentFeedback | None = None
) -> Outcome:
    model = case.model()
    if ranks.rank:  # whatever the others start from, rank 0's weights count
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
    result = fit(
        model,
        case.data(ranks),
        TrainingConfig(**{**case.defaults, **case.settings}),
        stats=PixelStats((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
        seed=7,
        version="v1",
        device=torch.device("cpu"),
        threads=1,
        checkpoint=checkpoint if ranks.main else None,
        feedback=feedback or SilentFeedback(),
        fingerprint="f",
        ranks=ranks,
    )
    return result, {name: value.clone() for name, value in model.state_dict().items()}


def all_trained(ranks: Ranks, cases: list[Case]) -> list[Outcome]:
    return [trained(ranks, case) for case in cases]


# Deep BatchNorm networks on few tiny images are chaotic: perturbing their first weights by 1e-7 changes the loss of the
# second epoch by 1e-2. So they take one large step, which shows every gradient, or several small ones.
# In float32 Adam makes a full step of a gradient that is rounding error, and on some processors it is another one.
CASES = [
    Case("cnn", ADAM, double=True),
    Case("cnn", SGD | {"augmentation": "crop-flip"}),
    Case("resnet18", ONE_STEP, images=24, double=True),
    Case("resnet18", SGD | {"learning_rate": 1e-5, "max_epochs": 1}),
    Case("resnet18", ADAM | {"learning_rate": 1e-7, "max_epochs": 1, "batch_size": 23}),
    Case("odd", SGD | {"batch_size": 22}),  # 22 and 23: the last batch takes the lone image
    Case("odd", ADAM),
    Case("odd", SGD | {"batch_size": 2, "learning_rate": 1e-3}, images=8),  # one of three ranks has no image
    Case("odd", ADAM | {"batch_size": 1}, images=3),  # all but one have none; one image has no statistics
]


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("size", [2, 3])
def test_several_ranks_give_what_one_process_gives(tmp_path: Path, size: int) -> None:
    groups = in_group(size, tmp_path / "group", all_trained, CASES)
    with one_thread():
        alone = all_trained(SOLO, CASES)
    for number, (case, (result, state)) in enumerate(zip(CASES, alone, strict=True)):
        outcomes = [group[number] for group in groups]
        assert all(outcome[0] == outcomes[0][0] and equal(outcome[1], outcomes[0][1]) for outcome in outcomes), case
        got, weights = outcomes[0]
        assert (got.epochs, got.stopped) == (result.epochs, result.stopped)
        for record, expected in zip(got.history, result.history, strict=True):
            assert record.train_accuracy == expected.train_accuracy
            assert record.train_loss == pytest.approx(expected.train_loss, rel=1e-4, abs=1e-5)
            assert record.batch_loss == pytest.approx(expected.batch_loss, rel=1e-4, abs=1e-5)
        for name, expected in state.items():
            if name != "seen":
                torch.testing.assert_close(weights[name], expected, rtol=1e-5, atol=1e-12 if case.double else 2e-5)


def interrupted(ranks: Ranks, case: Case, checkpoint: Path) -> tuple[Outcome, Outcome]:
    """A run in one go; and one that ended after its second epoch, continued."""
    whole = trained(ranks, case)
    with patch.object(WriteBudget, "due", lambda self: True), patch.object(loop, "stop_reason", stops_after_two):
        trained(ranks, case, checkpoint)
    if ranks.main:
        shutil.copy(checkpoint, checkpoint.with_suffix(".2"))
    return whole, trained(ranks, case, checkpoint)


def stops_after_two(history: list[EpochRecord], settings: TrainingConfig) -> str | None:
    return "max_epochs" if len(history) == 2 else None


@pytest.mark.parametrize(
    "case",
    [
        Case("cnn", ADAM, dropout=0.4),
        Case("resnet18", SGD, images=15, side=4, dropout=0.4),
        Case("odd", ADAM),
    ],
    ids=lambda c: c.name,
)
def test_continued_it_ends_in_the_same_bits_on_all_ranks(tmp_path: Path, case: Case) -> None:
    checkpoint = tmp_path / "o.safetensors"
    groups = in_group(2, tmp_path / "group", interrupted, case, checkpoint)
    for whole, continued in groups:
        assert continued[0].resumed_from_epoch == 2
        assert continued[0].history == whole[0].history == groups[0][0][0].history
        assert equal(continued[1], whole[1])
        assert equal(whole[1], groups[0][0][1])
    checkpoint = checkpoint.with_suffix(".2")
    assert read_tensors(checkpoint)[1]["place"]["ranks"] == 2
    notes = RecordingFeedback()
    with one_thread():
        result, _ = trained(SOLO, case, checkpoint, notes)
    assert result.resumed_from_epoch == 2
    assert "with 1 threads in each of 2 processes and continues on cpu with 1 threads" in notes.notes[0]


def failures(ranks: Ranks, case: Case) -> tuple[str, str]:
    with pytest.raises(Exception) as caught:
        trained(ranks, case)
    return type(caught.value).__name__, str(caught.value)


@pytest.mark.parametrize("rank", [0, 1])
def test_what_one_rank_cannot_read_ends_the_work_of_all(tmp_path: Path, rank: int) -> None:
    found = in_group(2, tmp_path / "group", failures, Case("odd", SGD, broken=rank))
    assert found == [("UnreadableImagesError", "1 images could not be read, first: five.png: gone")] * 2


def test_divergence_is_said_once(tmp_path: Path) -> None:
    case = Case("odd", SGD | {"learning_rate": 1e30})
    (name, message), (other, _) = in_group(2, tmp_path / "group", failures, case)
    assert (name, other) == ("DivergedError", "ToldError")
    assert "diverged" in message


class Overflowing(nn.Module):
    """A layer whose gradient is infinite on the second rank."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.layer = nn.Linear(192, 3)
        if rank == 1:
            self.layer.weight.register_hook(lambda gradient: gradient / 0)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layer(images.reshape(len(images), -1))
        return logits


def scaled_epoch(ranks: Ranks) -> tuple[float, dict[str, Tensor], bool]:
    torch.manual_seed(1)
    model, case = Overflowing(ranks.rank), Case("overflowing", SGD)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    settings = TrainingConfig(batch_size=64)
    precision = MixedPrecision("cpu", torch.bfloat16, torch.amp.GradScaler("cpu", init_scale=1024.0))
    batches = training_batches(case.data(ranks), settings, seed=1, version="v", epoch=1, ranks=ranks)
    stats = PixelStats((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    train_epoch(model, optimizer, batches, stats, torch.device("cpu"), precision, ranks)
    return precision.scaler.get_scale(), model.state_dict(), equal(before, model.state_dict())


def test_a_step_that_overflows_on_one_rank_is_skipped_by_all(tmp_path: Path) -> None:
    (scale, weights, skipped), (other_scale, other_weights, _) = in_group(2, tmp_path / "group", scaled_epoch)
    assert scale == other_scale == 512.0
    assert skipped
    assert equal(weights, other_weights)
