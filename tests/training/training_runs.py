"""Small training runs that the tests start, interrupt and compare."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from dalcli.config.training import TrainingConfig
from dalcli.data.pixels import ArrayPixels, IntArray, PixelSource, UInt8Array
from dalcli.feedback import Feedback, SilentFeedback, Task
from dalcli.models import zoo
from dalcli.models.preprocess import PixelStats
from dalcli.models.spec import ModelSpec
from dalcli.training.batches import TrainingData
from dalcli.training.loop import FitResult, fit

CPU = torch.device("cpu")
STATS = PixelStats((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def striped(count: int, side: int = 8, classes: int = 3, seed: int = 0) -> TrainingData:
    """Noisy images whose class is the brightest channel: learnable in a few epochs."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    pixels = rng.integers(0, 120, (count, side, side, 3), dtype=np.uint8)
    pixels[np.arange(count), :, :, labels] += 120
    return TrainingData(ArrayPixels(pixels), labels.astype(np.int64))


class Interrupted(Exception):
    """What a test's interruption looks like."""


class DelegatingPixels:
    """Another source's pixels; counts the reads."""

    def __init__(self, pixels: PixelSource) -> None:
        self._pixels = pixels
        self.shape = pixels.shape
        self.reads = 0

    def __len__(self) -> int:
        return len(self._pixels)

    def read(self, rows: IntArray) -> UInt8Array:
        self.reads += 1
        return self._pixels.read(rows)


class FailingPixels(DelegatingPixels):
    """A source that raises when ``at`` reads are done."""

    def __init__(self, data: TrainingData, at: int) -> None:
        super().__init__(data.pixels)
        self._at = at

    def read(self, rows: IntArray) -> UInt8Array:
        if self.reads == self._at:
            raise Interrupted
        return super().read(rows)


class RecordingFeedback(SilentFeedback):
    """Keeps what was said; raises once ``stop_at`` epochs are done."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self.steps: list[tuple[int, str | None]] = []
        self._stop_at = stop_at

    def note(self, message: str) -> None:
        self.notes.append(message)

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    @contextmanager
    def task(self, label: str, total: int | None, unit: str = "images") -> Iterator[Task]:
        yield self

    def advance(self, amount: int = 1, info: str | None = None) -> None:
        self.steps.append((amount, info))
        if self._stop_at is not None and sum(step for step, _ in self.steps) >= self._stop_at:
            raise Interrupted


def build(name: str = "cnn", side: int = 8, classes: int = 3, dropout: float = 0.0) -> nn.Module:
    """A model of the zoo, or ``normed``: a narrow one with BatchNorm, whose checkpoints are quick to write."""
    if name == "normed":
        return _normed(classes, dropout)
    return zoo.build(ModelSpec(name, classes, (side, side), dropout=dropout), seed=4)


def _normed(classes: int, dropout: float) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        return nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3, stride=2, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(16, classes),
        )


def run(
    model: nn.Module,
    data: TrainingData,
    *,
    checkpoint: Path | None = None,
    feedback: Feedback | None = None,
    fingerprint: str = "f",
    seed: int = 7,
    version: str = "v1",
    **settings: Any,
) -> FitResult:
    """``fit`` with one thread and defaults that end quickly."""
    defaults: dict[str, Any] = {"max_epochs": 4, "batch_size": 16, "accuracy_threshold": 1.0, "hold_epochs": 100}
    return fit(
        model,
        data,
        TrainingConfig(**{**defaults, **settings}),
        stats=STATS,
        seed=seed,
        version=version,
        device=CPU,
        threads=1,
        checkpoint=checkpoint,
        feedback=feedback or SilentFeedback(),
        fingerprint=fingerprint,
    )


def same_weights(first: nn.Module, second: nn.Module) -> bool:
    """Equal bit for bit, buffers included."""
    one, other = first.state_dict(), second.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
