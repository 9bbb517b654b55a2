"""``meta.json``: what a model version is and how it came about."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from dalcli.models.preprocess import PixelStats
from dalcli.models.spec import ModelSpec
from dalcli.models.tensorfile import DamagedFileError
from dalcli.state.atomic import write_bytes

FORMAT = 1

StopReason = Literal["converged", "max_epochs", "patience", "max_iterations"]


@dataclass(frozen=True)
class EpochRecord:
    """One epoch of training.

    Attributes:
        epoch: counted from 1.
        learning_rate: used during the epoch.
        batch_loss: mean cross-entropy per image while training (training mode, augmented, weights moving).
        train_loss: mean cross-entropy per image after the epoch (eval mode, not augmented).
        train_accuracy: fraction of the training images classified right after the epoch (eval mode).
    """

    epoch: int
    learning_rate: float
    batch_loss: float
    train_loss: float
    train_accuracy: float


@dataclass(frozen=True)
class HeadMeta:
    """How the head of a frozen network was found.

    Attributes:
        penalty: weight of the L2 penalty; ``reason`` why this one.
        compared: penalty, mean log loss and its standard error of each that was tried by cross-validation.
        gradient_norm: of the objective, at the answer.
    """

    penalty: float
    reason: str
    compared: tuple[tuple[float, float, float], ...]
    gradient_norm: float


@dataclass(frozen=True)
class ModelMeta:
    """One immutable model version.

    Attributes:
        version: name of the version; ``parent`` the one it was warm-started from, if any.
        spec: the architecture.
        classes: ordered class names, index = logit.
        pixel_stats: normalisation, fixed at first training.
        seed: the config's seed.
        threads: processor threads it was trained with; ``device`` where.
        config_fingerprint: of the settings that shape training.
        torch_version: that trained it.
        labels_digest: of the effective labels it was trained on; ``labels`` their number.
        epochs, converged, stopped, train_accuracy, train_loss, history: how training went.
        ranks: processes it was trained by, each with ``threads``.
        head: of a frozen network; ``epochs`` are the solver's iterations, then.
    """

    version: str
    parent: str | None
    spec: ModelSpec
    classes: tuple[str, ...]
    pixel_stats: PixelStats
    seed: int
    threads: int
    device: str
    config_fingerprint: str
    torch_version: str
    labels_digest: str
    labels: int
    epochs: int
    converged: bool
    stopped: StopReason
    train_accuracy: float
    train_loss: float
    history: tuple[EpochRecord, ...]
    ranks: int = 1
    head: HeadMeta | None = None


def to_json(meta: ModelMeta) -> str:
    """``meta`` as readable JSON; the same value always gives the same text."""
    document = {"format": FORMAT, **dataclasses.asdict(meta)}
    return json.dumps(document, ensure_ascii=False, indent=2, sort_keys=True, allow_nan=False) + "\n"


def write_meta(path: Path, meta: ModelMeta) -> None:
    """Write ``meta.json``, atomically."""
    write_bytes(path, to_json(meta).encode())


def read_meta(path: Path) -> ModelMeta:
    """Read ``meta.json`` back.

    Raises:
        DamagedFileError: missing, truncated, changed by hand into nonsense, or of a newer format.
    """
    try:
        document: Any = json.loads(path.read_bytes())
        found = document.pop("format")
        if found != FORMAT:
            raise DamagedFileError(
                f"{path} has format {found}; this version of dalcli reads format {FORMAT}", "Upgrade dalcli."
            )
        return _ADAPTER.validate_python(document)
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise DamagedFileError(
            f"{path} cannot be read: {_reason(error)}",
            "Restore the file from a backup, or delete the folder it is in and run `dalcli train`.",
        ) from error


_ADAPTER: TypeAdapter[ModelMeta] = TypeAdapter(ModelMeta)


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    if isinstance(error, FileNotFoundError):
        return "it does not exist"
    return f"it is not what dalcli writes ({error})"
