"""From stored bytes to what the model sees: the same for training, scoring and evaluation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dalcli.data.pixels import Inputs, IntArray, PixelSource

Channels = tuple[float, float, float]

LEAST_STD = 1 / 255  # less variation than one grey level is noise: not amplified
CHUNK_BYTES = 1 << 23


@dataclass(frozen=True)
class PixelStats:
    """Mean and standard deviation of each channel (RGB), pixels scaled to [0, 1]."""

    mean: Channels
    std: Channels


# What torchvision's published weights were trained with.
IMAGENET = PixelStats(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def measure(pixels: PixelSource, rows: IntArray) -> PixelStats:
    """Mean and population standard deviation over all pixels of ``rows``, streamed.

    Sums are integers, hence exact, and depend neither on the order of rows nor on how they are read. A channel
    that varies by less than one grey level gets 1 as its deviation.

    Raises:
        ValueError: ``rows`` is empty.
        UnreadableImagesError: from the source.
    """
    if len(rows) == 0:
        raise ValueError("pixel statistics of no images")
    height, width, _ = pixels.shape
    chunk = max(1, CHUNK_BYTES // (height * width * 3))
    total = np.zeros(3, dtype=np.int64)
    squares = np.zeros(3, dtype=np.int64)
    for start in range(0, len(rows), chunk):
        values = pixels.read(rows[start : start + chunk]).reshape(-1, 3).astype(np.int64)
        total += values.sum(axis=0)
        squares += np.square(values, out=values).sum(axis=0)
    return _stats(total, squares, len(rows) * height * width)


def to_input(seen: Inputs, stats: PixelStats, device: torch.device) -> Tensor:
    """What a model sees, float32 on ``device``: ``(n, H, W, 3)`` uint8 normalised as ``(n, 3, H, W)``; features as is.

    The bytes travel to the device as they are. Memory stays channels-last, in which convolutions run up to a
    fifth faster (two processor cores, ResNet18).
    """
    values = torch.from_numpy(np.require(seen, requirements=["C", "W"])).to(device)
    if seen.ndim == 2:
        return values.float()
    count, height, width, channels = values.shape
    # A row of an image at a time: with three values at a time it would take three times as long.
    mean = torch.tensor(stats.mean * width, dtype=torch.float32, device=device)
    std = torch.tensor(stats.std * width, dtype=torch.float32, device=device)
    rows = values.view(count * height, width * channels).float().div_(255).sub_(mean).div_(std)
    return rows.view(count, height, width, channels).permute(0, 3, 1, 2)


def _stats(total: NDArray[np.int64], squares: NDArray[np.int64], count: int) -> PixelStats:
    # count·Σx² − (Σx)² in Python's unbounded integers: no cancellation, whatever the number of pixels.
    variances = [
        (count * int(square) - int(one) ** 2) / count**2 / 255**2 for one, square in zip(total, squares, strict=True)
    ]
    means = [int(one) / count / 255 for one in total]
    deviations = [value**0.5 if value**0.5 >= LEAST_STD else 1.0 for value in variances]
    return PixelStats((means[0], means[1], means[2]), (deviations[0], deviations[1], deviations[2]))
