"""What a killed training run continues from: one file with weights, optimizer state and history.

The same content puts the other ranks of a run where rank 0 is.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn, optim

from dalcli.feedback import Feedback
from dalcli.models.checkpoint import load_state, tensor_state
from dalcli.models.meta import EpochRecord
from dalcli.models.tensorfile import DamagedFileError, read_tensors, write_tensors
from dalcli.runtime.ranks import Ranks
from dalcli.runtime.sharing import share
from dalcli.training.precision import MixedPrecision

WRITING_SHARE = 0.05  # of the time may go into writing checkpoints

_WEIGHTS = "model/"
_OPTIMIZER = "optimizer/"


@dataclass(frozen=True)
class Place:
    """Which run a checkpoint belongs to (``fingerprint``) and where it was computed, ``threads`` in each rank."""

    fingerprint: str
    threads: int
    device: str
    ranks: int = 1

    def __str__(self) -> str:
        each = f" in each of {self.ranks} processes" if self.ranks > 1 else ""
        return f"{self.device} with {self.threads} threads{each}"


@dataclass(frozen=True)
class _Saved:
    place: Place
    history: tuple[EpochRecord, ...]
    scaler: dict[str, Any]


def save_run(
    path: Path,
    model: nn.Module,
    optimizer: optim.Optimizer,
    precision: MixedPrecision,
    history: list[EpochRecord],
    place: Place,
) -> None:
    """Write everything that epoch ``len(history) + 1`` depends on, atomically."""
    saved = _Saved(place, tuple(history), precision.scaler.state_dict())
    write_tensors(path, _tensors(model, optimizer), dataclasses.asdict(saved))


def resume_run(
    path: Path,
    model: nn.Module,
    optimizer: optim.Optimizer,
    precision: MixedPrecision,
    place: Place,
    feedback: Feedback,
) -> list[EpochRecord]:
    """Put a saved run back into ``model``, ``optimizer`` and ``precision``; its history.

    Empty, with a note or a warning, where there is nothing to continue: no file, a damaged one, one of another run.
    """
    if not path.exists():
        return []
    try:
        tensors, metadata = read_tensors(path)
        saved = _ADAPTER.validate_python(metadata)
    except (DamagedFileError, ValidationError):
        feedback.warn(f"{path} is damaged: training starts again from epoch 1")
        return []
    if saved.place.fingerprint != place.fingerprint:
        feedback.note("labels or settings changed since training was interrupted: it starts again from epoch 1")
        return []
    weights = _under(_WEIGHTS, tensors)
    if {n: t.shape for n, t in weights.items()} != {n: t.shape for n, t in model.state_dict().items()}:
        feedback.warn("the model changed since training was interrupted: it starts again from epoch 1")
        return []
    if saved.place != place:
        feedback.note(f"training began on {saved.place} and continues on {place}: the last digits may differ")
    return _restore(tensors, saved, model, optimizer, precision)


def share_run(
    model: nn.Module,
    optimizer: optim.Optimizer,
    precision: MixedPrecision,
    history: list[EpochRecord],
    place: Place,
    ranks: Ranks,
) -> list[EpochRecord]:
    """Put every rank where rank 0 is, fresh or resumed: its weights, optimizer state, loss scale and history."""
    if ranks.size == 1:
        return history
    own = _Saved(place, tuple(history), precision.scaler.state_dict())
    saved = _ADAPTER.validate_python(ranks.broadcast(dataclasses.asdict(own)))
    tensors = share(_tensors(model, optimizer), ranks)
    return history if ranks.main else _restore(tensors, saved, model, optimizer, precision)


def saved_place(path: Path) -> Place | None:
    """Where the checkpoint ``path`` was computed; None if there is none that can be read."""
    try:
        return _ADAPTER.validate_python(read_tensors(path)[1]).place
    except (DamagedFileError, ValidationError):
        return None


class WriteBudget:
    """Keeps the time spent on writing to a share of the time passed; the first write is always due."""

    def __init__(self, share: float = WRITING_SHARE) -> None:
        self._share = share
        self._last_cost = 0.0
        self._last_end = float("-inf")

    def due(self) -> bool:
        """Whether enough time has passed since the last write."""
        passed = time.monotonic() - self._last_end
        return self._last_cost <= self._share * (passed + self._last_cost)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Time a write."""
        begin = time.monotonic()
        yield
        self._last_end = time.monotonic()
        self._last_cost = self._last_end - begin


_ADAPTER: TypeAdapter[_Saved] = TypeAdapter(_Saved)


def _tensors(model: nn.Module, optimizer: optim.Optimizer) -> dict[str, Tensor]:
    tensors = {f"{_WEIGHTS}{name}": tensor for name, tensor in tensor_state(model).items()}
    for index, values in optimizer.state_dict()["state"].items():
        for key, tensor in values.items():
            if tensor is not None:  # SGD without momentum
                tensors[f"{_OPTIMIZER}{index}/{key}"] = tensor
    return tensors


def _restore(
    tensors: dict[str, Tensor], saved: _Saved, model: nn.Module, optimizer: optim.Optimizer, precision: MixedPrecision
) -> list[EpochRecord]:
    load_state(model, _under(_WEIGHTS, tensors))
    _load_optimizer(optimizer, _under(_OPTIMIZER, tensors))
    if saved.scaler:
        precision.scaler.load_state_dict(saved.scaler)
    return list(saved.history)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _load_optimizer(optimizer: optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, key = name.partition("/")
        # A copy of its own: memory from the file is aligned differently, which could change a last bit.
        state.setdefault(int(index), {})[key] = tensor.clone()
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
