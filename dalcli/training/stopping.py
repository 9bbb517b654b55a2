"""When training ends: a function of the history alone, so that a resumed run decides as an uninterrupted one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dalcli.config.training import TrainingConfig
from dalcli.models.meta import EpochRecord, StopReason

LEAST_PROGRESS = 1e-3  # relative; a loss that falls by rounding errors for ever makes no progress


def stop_reason(history: Sequence[EpochRecord], settings: TrainingConfig) -> StopReason | None:
    """Why training ends after the epochs of ``history``; None while it goes on.

    converged: the train accuracy has reached the threshold in each of the last ``hold_epochs`` epochs, and
    ``min_epochs`` are done. patience: for ``patience`` epochs the train loss has not been 0.1% below
    the last minimum that counted, all of them together (slow progress adds up).
    """
    if _converged(history, settings):
        return "converged"
    if len(history) >= settings.max_epochs:
        return "max_epochs"
    if _epochs_since_best(history) >= settings.patience and len(history) >= settings.min_epochs:
        return "patience"
    return None


def _converged(history: Sequence[EpochRecord], settings: TrainingConfig) -> bool:
    held = history[-settings.hold_epochs :]
    enough = len(history) >= max(settings.hold_epochs, settings.min_epochs)
    return enough and all(record.train_accuracy >= settings.accuracy_threshold for record in held)


def _epochs_since_best(history: Sequence[EpochRecord]) -> int:
    best, since = math.inf, 0
    for record in history:
        better = record.train_loss < best * (1 - LEAST_PROGRESS)
        best, since = (record.train_loss, 0) if better else (best, since + 1)
    return since
