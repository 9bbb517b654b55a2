"""What images look like, as few numbers: features for choosing before there is any model. numpy only.

An image is reduced to at most 16×16 pixels by averaging areas and described by two things: its mean colour, and what
is left without it, scaled to a common contrast. The principal components of these descriptions (of a sample of the
images) are the features. They know layout, colours and coarse shapes; pretrained networks know more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dalcli.config.hashing import derive_seed, generator
from dalcli.data.pixels import Float32Array, UInt8Array

SIDE = 16
COMPONENTS = 64
SAMPLE = 4096
LEAST_CONTRAST = 0.05  # of [0, 1]: flatter images are flat, not noise to be amplified
COLOUR_WEIGHT = 2.0
BLOCK_BYTES = 32 << 20
_NEGLIGIBLE = 1e-9


@dataclass(frozen=True, eq=False)
class PixelProjection:
    """Principal components: ``mean`` (D,), ``axes`` (D, d) float64, scaled so that features have a mean square of 1."""

    mean: NDArray[np.float64]
    axes: NDArray[np.float64]

    @classmethod
    def of(cls, descriptions: Float32Array, most: int) -> PixelProjection:
        """At most ``most`` components of ``descriptions`` (n, D), n at least 1; fewer where no more differ."""
        mean = descriptions.mean(axis=0, dtype=np.float64)
        centred = descriptions - mean
        values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
        count = min(most, int(np.count_nonzero(values > max(_NEGLIGIBLE, _NEGLIGIBLE * values[-1]))))
        axes = vectors[:, ::-1][:, :count]
        largest = np.abs(axes).argmax(axis=0)
        signs = np.sign(axes[largest, np.arange(count)])  # an eigenvector's sign is anybody's choice
        return cls(mean, axes * signs / np.sqrt(values[::-1][:count].sum() or 1.0))

    def features(self, descriptions: Float32Array) -> Float32Array:
        """(n, d + 1): the components, and a constant 1 with which length 1 keeps distances apart as they are."""
        found = np.ones((len(descriptions), self.axes.shape[1] + 1), np.float32)
        found[:, :-1] = (descriptions - self.mean) @ self.axes
        return found


def projected(features: Float32Array, most: int, seed: int) -> Float32Array:
    """(n, d) in (n, min(d, ``most``)): as they are, or by random signs, which keep distances but for a few per cent."""
    width = features.shape[1]
    if width <= most:
        return features
    signs = generator(derive_seed(seed, "feature projection"), width, most).integers(0, 2, (width, most))
    scaled: Float32Array = features @ ((2 * signs - 1) / np.sqrt(most)).astype(np.float32)
    return scaled


def images_at_once(shape: tuple[int, ...]) -> int:
    """How many images of (H, W, 3) to describe at a time, in 32 MiB; a description takes 3 KiB."""
    height, width, _ = shape
    return max(1, BLOCK_BYTES // (12 * height * width))


def descriptions(pixels: UInt8Array) -> Float32Array:
    """(n, H, W, 3) uint8 as (n, h·w·3 + 3): structure at a common contrast, of length 1 at most, and mean colour."""
    small = reduced(pixels)
    colour = small.mean(axis=(1, 2))
    structure = (small - colour[:, None, None]).reshape(len(small), -1)
    contrast = np.sqrt(np.square(structure).mean(axis=1, keepdims=True))
    scaled = structure / ((contrast + LEAST_CONTRAST) * np.sqrt(structure.shape[1]))
    both: Float32Array = np.concatenate([scaled, COLOUR_WEIGHT * colour], axis=1)
    return both


def reduced(pixels: UInt8Array) -> Float32Array:
    """(n, H, W, 3) uint8 in at most 16×16 pixels, float32 in [0, 1]; each is the mean of the area it covers."""
    _, height, width, _ = pixels.shape
    rows, columns = _areas(height), _areas(width)
    scaled = pixels.astype(np.float32) / np.float32(255)
    by_rows = np.tensordot(scaled, rows, axes=(1, 1))  # n, W, 3, h
    return np.ascontiguousarray(np.tensordot(by_rows, columns, axes=(1, 1)).transpose(0, 2, 3, 1))


def _areas(length: int) -> Float32Array:
    """(min(16, length), length): what share of each of the fewer pixels is covered by each of the many."""
    count = min(SIDE, length)
    edges = np.linspace(0, length, count + 1)
    many = np.arange(length)
    overlaps = np.minimum(edges[1:, None], many + 1) - np.maximum(edges[:-1, None], many)
    shares: Float32Array = (np.clip(overlaps, 0, None) * count / length).astype(np.float32)
    return shares
