"""Which images make up each batch of an epoch: a function of (seed, version, epoch) alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dalcli.config.hashing import generator
from dalcli.config.training import TrainingConfig
from dalcli.data.pixels import IntArray, PixelSource, UInt8Array
from dalcli.runtime.ranks import SOLO, Ranks
from dalcli.training import augment


@dataclass(frozen=True)
class TrainingData:
    """The labeled set: ``pixels`` of n images and their ``labels`` ``(n,)`` int64, class indices."""

    pixels: PixelSource
    labels: IntArray

    def __post_init__(self) -> None:
        if self.labels.shape != (len(self.pixels),):
            raise ValueError(f"{len(self.pixels)} images, but labels of shape {self.labels.shape}")


class MiniBatch(NamedTuple):
    """This rank's part of the images of one step.

    Attributes:
        pixels: ``(b, H, W, 3)`` uint8, and their ``labels`` ``(b,)``. Never empty: a rank whose part is shows the
            model a black image instead, as models need not bear batches of none.
        total: images of the step on all ranks.
        share: the fraction of them that are here: 1 with one rank, 0 for a stand-in.
    """

    pixels: UInt8Array
    labels: IntArray
    total: int
    share: float


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
    data: TrainingData, settings: TrainingConfig, *, seed: int, version: str, epoch: int, ranks: Ranks = SOLO
) -> Iterator[MiniBatch]:
    """The batches of one epoch, shuffled and augmented; of each, this rank's part.

    An image's augmentation depends neither on the batch nor on the rank it falls to.
    """
    count = len(data.labels)
    height, width, _ = data.pixels.shape
    rng = generator(seed, "augmentation", version, epoch)
    augmentation = augment.draw(settings.augmentation, count, (height, width), rng)
    for batch in split(order(count, seed, version, epoch), settings.batch_size):
        part = ranks.part(len(batch))
        rows = batch[part.start : part.stop]
        if len(rows) == 0:
            yield MiniBatch(np.zeros((1, height, width, 3), np.uint8), np.zeros(1, np.int64), len(batch), 0.0)
            continue
        pixels = data.pixels.read(rows)
        pixels = pixels if augmentation is None else augmentation.apply(pixels, rows)
        yield MiniBatch(pixels, data.labels[rows], len(batch), len(rows) / len(batch))
