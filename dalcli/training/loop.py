"""Train a model to convergence on the labeled set."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn, optim

from dalcli.config.hashing import derive_seed
from dalcli.config.training import TrainingConfig
from dalcli.errors import DalcliError, NotReadyError, ToldError
from dalcli.feedback import Feedback
from dalcli.models.meta import EpochRecord, StopReason
from dalcli.models.preprocess import PixelStats
from dalcli.runtime.device import reproducible
from dalcli.runtime.heap import keep_freed_memory
from dalcli.runtime.memory import memory_errors
from dalcli.runtime.ranks import SOLO, Ranks
from dalcli.runtime.sharing import copy_from_main
from dalcli.training.batches import TrainingData, training_batches
from dalcli.training.epoch import measure, train_epoch
from dalcli.training.optimizers import learning_rate, make_optimizer, set_learning_rate
from dalcli.training.precision import MixedPrecision, choose_precision
from dalcli.training.resume import Place, WriteBudget, resume_run, save_run, share_run
from dalcli.training.stopping import stop_reason
from dalcli.training.unreadable import PatientPixels

MEASURE_AT_LEAST = 64  # images at once: a small training batch need not make measuring slow


class DivergedError(DalcliError):
    """The loss is not a finite number any more: told apart so that ``status`` can say so later."""


@dataclass(frozen=True)
class FitResult:
    """How training went; see :class:`~dalcli.models.meta.EpochRecord` for the units.

    Attributes:
        epochs: in total, those before an interruption included.
        stopped: why it ended; ``converged`` says whether for the good reason.
        threads: processor threads it was computed with.
        resumed_from_epoch: epochs that came from the checkpoint; 0 for an uninterrupted run.
    """

    epochs: int
    converged: bool
    stopped: StopReason
    train_accuracy: float
    train_loss: float
    history: tuple[EpochRecord, ...]
    threads: int
    resumed_from_epoch: int


def fit(
    model: nn.Module,
    data: TrainingData,
    settings: TrainingConfig,
    *,
    stats: PixelStats,
    seed: int,
    version: str,
    device: torch.device,
    threads: int | None,
    checkpoint: Path | None,
    feedback: Feedback,
    fingerprint: str,
    ranks: Ranks = SOLO,
) -> FitResult:
    """Train ``model`` in place on ``device`` with cross-entropy until it has converged (see ``stopping``).

    Every random choice of an epoch derives from (seed, version, epoch). So a run that was interrupted and is
    started again, with the same starting weights and ``checkpoint``, ends in the same weights: bit for bit on a
    processor with the same number of threads and ranks.

    With several ranks, each of which calls this with the same arguments but ``device``, ``checkpoint`` and
    ``feedback``, every batch is split over them and all end with the same weights and result: one process's but for
    the order of sums (dropout: but for its masks). It starts from rank 0's weights.

    Args:
        checkpoint: the file to continue from and to write at epoch ends; None: not resumable. It is left there.
            Rank 0's counts; the others pass None.
        fingerprint: of everything that shapes the run: settings, labels, starting weights, pixel statistics. A
            checkpoint with another one is not continued.

    Raises:
        NotReadyError: there are no labels.
        DivergedError: the loss is not finite any more. The checkpoint is that of a sound epoch.
        DalcliError: memory ran out or another rank has gone. The checkpoint is that of a sound epoch.
        UnreadableImagesError: from ``data.pixels``; on all ranks.
    """
    if len(data.labels) == 0:
        raise NotReadyError("there are no labels to train on", "Run `dalcli ingest-labels` first.")
    if device.type == "cpu":
        keep_freed_memory()
    model.to(device)
    precision = choose_precision(settings.mixed_precision, device, feedback)
    optimizer = make_optimizer(model, settings)
    pixels = PatientPixels(data.pixels, ranks)
    patient = TrainingData(pixels, data.labels)
    run = _Run(
        model=model,
        optimizer=optimizer,
        precision=precision,
        data=patient,
        pixels=pixels,
        settings=settings,
        stats=stats,
        seed=seed,
        version=version,
        device=device,
        ranks=ranks,
    )
    with reproducible(device, threads) as used, _own_generator(device), _within_memory(settings, device):
        place = Place(fingerprint, used, str(device), ranks.size)
        history: list[EpochRecord] = []
        if checkpoint is not None:
            history = resume_run(checkpoint, model, optimizer, precision, place, feedback)
        history = share_run(model, optimizer, precision, history, place, ranks)
        resumed_from = len(history)
        stopped = _until_stopped(run, history, checkpoint, place, feedback)
    last = history[-1]
    return FitResult(
        epochs=len(history),
        converged=stopped == "converged",
        stopped=stopped,
        train_accuracy=last.train_accuracy,
        train_loss=last.train_loss,
        history=tuple(history),
        threads=used,
        resumed_from_epoch=resumed_from,
    )


@dataclass(frozen=True)
class _Run:
    """All that one epoch needs."""

    model: nn.Module
    optimizer: optim.Optimizer
    precision: MixedPrecision
    data: TrainingData
    pixels: PatientPixels
    settings: TrainingConfig
    stats: PixelStats
    seed: int
    version: str
    device: torch.device
    ranks: Ranks

    def epoch(self, number: int) -> EpochRecord:
        """Train and measure once; a function of the weights, the optimizer's state and ``number``."""
        own = (self.ranks.rank,) if self.ranks.rank else ()  # no two ranks drop the same units
        torch.manual_seed(derive_seed(self.seed, "dropout", self.version, number, *own))
        rate = learning_rate(self.settings, number)
        set_learning_rate(self.optimizer, rate)
        batches = training_batches(
            self.data, self.settings, seed=self.seed, version=self.version, epoch=number, ranks=self.ranks
        )
        where = self.stats, self.device
        batch_loss = train_epoch(self.model, self.optimizer, batches, *where, self.precision, self.ranks)
        self.pixels.complain()
        self._require_finite(batch_loss, number)
        copy_from_main(list(self.model.buffers()), self.ranks)  # what a model of the user's keeps may differ by rank
        at_once = max(self.settings.batch_size, MEASURE_AT_LEAST)
        train_loss, accuracy = measure(self.model, self.data, *where, at_once, self.ranks)
        self.pixels.complain()
        self._require_finite(train_loss, number)
        return EpochRecord(number, rate, batch_loss, train_loss, accuracy)

    def _require_finite(self, loss: float, number: int) -> None:
        if not math.isfinite(loss):
            rate = self.settings.learning_rate
            if not self.ranks.main:
                raise ToldError
            raise DivergedError(
                f"training diverged: the loss is {loss} in epoch {number}; nothing was changed",
                f"Lower training.learning_rate (now {rate:g}, try {rate / 10:g}) and run `dalcli train` again.",
            )


def _until_stopped(
    run: _Run, history: list[EpochRecord], checkpoint: Path | None, place: Place, feedback: Feedback
) -> StopReason:
    """Add epochs to ``history`` until there is a reason to stop; save from time to time."""
    budget = WriteBudget()
    with feedback.task("training", run.settings.max_epochs, unit="epochs") as task:
        if history:
            task.advance(len(history), _summary(history[-1]))
        while (stopped := stop_reason(history, run.settings)) is None:
            history.append(run.epoch(len(history) + 1))
            if checkpoint is not None and budget.due():
                with budget.writing():
                    save_run(checkpoint, run.model, run.optimizer, run.precision, history, place)
            task.advance(1, _summary(history[-1]))
    return stopped


def _summary(record: EpochRecord) -> str:
    return f"loss {record.train_loss:.4f}, accuracy {record.train_accuracy:.1%}"


@contextmanager
def _own_generator(device: torch.device) -> Iterator[None]:
    """torch's global generators, which dropout draws from, are put back afterwards."""
    gpus = [device.index or 0] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        yield


def _within_memory(settings: TrainingConfig, device: torch.device) -> AbstractContextManager[None]:
    """Meanwhile too little memory is an error that names a smaller batch."""
    return memory_errors(
        f"training ran out of memory on {device} with batches of {settings.batch_size}",
        f"Set training.batch_size: {max(1, settings.batch_size // 2)}, or a smaller data.image_size.",
    )
