"""Logits of many images, block by block."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dalcli.data.pixels import PixelSource
from dalcli.errors import BadInputError
from dalcli.feedback import Feedback
from dalcli.models.preprocess import PixelStats, to_input
from dalcli.runtime.modes import eval_mode
from dalcli.runtime.prefetch import prefetch

FloatArray = NDArray[np.float32]


def predict(
    model: nn.Module,
    pixels: PixelSource,
    stats: PixelStats,
    device: torch.device,
    batch_size: int,
    feedback: Feedback,
    label: str = "predicting",
) -> Iterator[FloatArray]:
    """Logits ``(b, K)`` float32 of all images in order, ``batch_size`` at a time; memory is bounded by a few batches.

    The model must be on ``device``. It is in eval mode meanwhile; nothing depends on the batch size but rounding.

    Raises:
        UnreadableImagesError: from ``pixels``.
    """
    with feedback.task(label, len(pixels)) as task:
        for logits in logit_blocks(model, pixels, stats, device, batch_size):
            yield logits.numpy()
            task.advance(len(logits))


def logit_blocks(
    model: nn.Module,
    pixels: PixelSource,
    stats: PixelStats,
    device: torch.device,
    batch_size: int,
    part: range | None = None,
) -> Iterator[Tensor]:
    """What :func:`predict` yields, as tensors on the processor and without progress; of ``part`` of the images only."""
    part = range(len(pixels)) if part is None else part
    rows = np.arange(part.start, part.stop, dtype=np.int64)
    blocks = (rows[start : start + batch_size] for start in range(0, len(rows), batch_size))
    with eval_mode(model), prefetch(pixels.read(block) for block in blocks) as batches:
        for batch in batches:
            with torch.no_grad():
                logits = call_model(model, to_input(batch, stats, device)).float().cpu()
            yield logits


def call_model(model: nn.Module, inputs: Tensor) -> Tensor:
    """The model's logits ``(n, K)``.

    Raises:
        BadInputError: it returns something else (a user's model in training mode, say).
    """
    logits = model(inputs)
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        found = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
        raise BadInputError(
            f"model.name: the model returned {found} where logits (n, K) are needed",
            "In eval and in training mode it must return one tensor: a logit per image and class.",
        )
    return logits
