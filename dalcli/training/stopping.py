"""When training ends: a function of the history alone, so that a resumed run decides as an uninterrupted one."""

from __future__ import annotations

from collections.abc import Sequence

from dalcli.config.schema import TrainingConfig
from dalcli.models.meta import EpochRecord, StopReason


def stop_reason(history: Sequence[EpochRecord], settings: TrainingConfig) -> StopReason | None:
    """Why training ends after the epochs of ``history``; None while it goes on.

    converged: the train accuracy has reached the threshold in each of the last ``hold_epochs`` epochs, and
    ``min_epochs`` are done. patience: the train loss has had no new minimum for ``patience`` epochs.
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
    if not history:
        return 0
    best = min(range(len(history)), key=lambda index: history[index].train_loss)  # the first of equals
    return len(history) - 1 - best
