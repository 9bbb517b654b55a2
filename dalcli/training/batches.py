"""Which images make up each batch of an epoch: a function of (seed, version, epoch) alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dalcli.config.schema import TrainingConfig
from dalcli.config.seeding import generator
from dalcli.data.pixels import IntArray, PixelSource, UInt8Array
from dalcli.training import augment


@dataclass(frozen=True)
class TrainingData:
    """The labeled set: ``pixels`` of n images and their ``labels`` ``(n,)`` int64, class indices."""

    pixels: PixelSource
    labels: IntArray

    def __post_init__(self) -> None:
        if self.labels.shape != (len(self.pixels),):
            raise ValueError(f"{len(self.pixels)} images, but labels of shape {self.labels.shape}")


def order(count: int, seed: int, version: str, epoch: int) -> IntArray:
    """The images of an epoch, shuffled: a permutation of ``range(count)``."""
    return generator(seed, "shuffle", version, epoch).permutation(count)


def split(rows: IntArray, batch_size: int) -> list[IntArray]:
    """``rows`` in batches of ``batch_size``; a lone last row joins the batch before it (see ``modes``)."""
    batches = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
    if len(batches) > 1 and len(batches[-1]) == 1 < batch_size:
        batches[-2:] = [np.concatenate(batches[-2:])]
    return batches


def training_batches(
    data: TrainingData, settings: TrainingConfig, *, seed: int, version: str, epoch: int
) -> Iterator[tuple[UInt8Array, IntArray]]:
    """Pixels ``(b, H, W, 3)`` uint8 and labels ``(b,)`` of one epoch, shuffled and augmented.

    An image's augmentation does not depend on the batch it falls into.
    """
    count = len(data.labels)
    height, width, _ = data.pixels.shape
    rng = generator(seed, "augmentation", version, epoch)
    augmentation = augment.draw(settings.augmentation, count, (height, width), rng)
    for rows in split(order(count, seed, version, epoch), settings.batch_size):
        pixels = data.pixels.read(rows)
        yield (pixels if augmentation is None else augmentation.apply(pixels, rows)), data.labels[rows]
