"""Random flips and shifts of training images; never used when scoring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dalcli.data.pixels import IntArray, UInt8Array

AugmentationKind = Literal["none", "flip", "crop-flip"]

SHIFT = 8  # by up to 1/8 of the size, as is usual for 32×32 images (4 pixels)


@dataclass(frozen=True)
class Augmentation:
    """What happens to each of n images in one epoch.

    Attributes:
        flipped: ``(n,)`` bool, mirrored left to right.
        down, right: ``(n,)`` int64, shift in pixels.
    """

    flipped: NDArray[np.bool_]
    down: IntArray
    right: IntArray

    def apply(self, pixels: UInt8Array, rows: IntArray) -> UInt8Array:
        """Flip and shift ``pixels`` ``(b, H, W, 3)``, the images ``rows`` ``(b,)``; borders mirror."""
        _, height, width, _ = pixels.shape
        vertical = _mirrored(np.arange(height) - self.down[rows, None], height)
        horizontal = _mirrored(np.arange(width) - self.right[rows, None], width)
        horizontal = np.where(self.flipped[rows, None], width - 1 - horizontal, horizontal)
        image = np.arange(len(rows))
        return pixels[image[:, None, None], vertical[:, :, None], horizontal[:, None, :]]


def draw(kind: AugmentationKind, count: int, size: tuple[int, int], rng: np.random.Generator) -> Augmentation | None:
    """One epoch's augmentation of ``count`` images of ``size`` (H, W); None for ``none``."""
    if kind == "none":
        return None
    flipped = rng.random(count) < 0.5
    reach = [side // SHIFT if kind == "crop-flip" else 0 for side in size]
    down, right = (rng.integers(-most, most, size=count, endpoint=True) for most in reach)
    return Augmentation(flipped, down, right)


def _mirrored(index: IntArray, size: int) -> IntArray:
    """Indices outside ``[0, size)`` by less than ``size``, reflected without repeating the border."""
    index = np.abs(index)
    return np.where(index >= size, 2 * (size - 1) - index, index)
