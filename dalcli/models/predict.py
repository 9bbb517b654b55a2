"""Logits of many images, block by block."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from dalcli.data.pixels import Inputs, InputSource
from dalcli.errors import BadInputError
from dalcli.models.preprocess import PixelStats, to_input
from dalcli.runtime.modes import eval_mode
from dalcli.runtime.prefetch import prefetch


def logit_blocks(
    model: nn.Module,
    source: InputSource,
    stats: PixelStats,
    device: torch.device,
    batch_size: int,
    part: range | None = None,
) -> Iterator[Tensor]:
    """Logits ``(b, K)`` float32, on the processor, of ``part`` of the images (default: all) in order.

    ``batch_size`` at a time; memory is bounded by a few batches. The model must be on ``device``. It is in eval mode
    meanwhile; nothing depends on the batch size but rounding.

    Raises:
        UnreadableImagesError: from ``source``.
    """
    part = range(len(source)) if part is None else part
    rows = np.arange(part.start, part.stop, dtype=np.int64)
    blocks = (rows[start : start + batch_size] for start in range(0, len(rows), batch_size))
    with eval_mode(model), prefetch(source.read(block) for block in blocks) as batches:
        for batch in batches:
            yield logits_of_inputs(model, batch, stats, device)


def logits_of_inputs(model: nn.Module, seen: Inputs, stats: PixelStats, device: torch.device) -> Tensor:
    """Logits ``(n, K)`` float32, on the processor, of pixels or features; in the mode that the model is in."""
    with torch.no_grad():
        return call_model(model, to_input(seen, stats, device)).float().cpu()


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
