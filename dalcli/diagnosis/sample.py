"""Uniform samples that stand for the sets of a diagnosis where those are too large to be looked at whole.

Never imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dalcli.config.hashing import generator
from dalcli.data.pixels import IntArray
from dalcli.diagnosis.images import DecodedImages
from dalcli.diagnosis.sets import Sets
from dalcli.state.catalog import PoolImage

POOL_PER_SAMPLE = 32  # pool samples whose gradients R may look at, per kernel sample


@dataclass(frozen=True, kw_only=True)
class KernelSample:
    """The images of Θ, in its order: S, then the pool outside S, then candidates.

    Row numbers say which image is which; a candidate may be in the pool, too. ``initial`` are rows of S.
    """

    images: Sequence[PoolImage]
    labeled: IntArray
    initial: IntArray
    pool: IntArray
    candidates: IntArray

    @classmethod
    def draw(cls, sets: Sets, most: int, seed: int) -> KernelSample:
        """At most ``most`` images of each set, so that quantities over the sample stand for the set."""

        def some(images: Sequence[PoolImage], purpose: str) -> list[PoolImage]:
            return _uniform(images, most, generator(seed, "kernel sample", purpose))

        labeled, pool = some(sets.labeled, "labeled"), some(sets.pool, "pool")
        candidates = [] if sets.candidates is None else some(sets.candidates.images, "candidates")
        images = {image.key: image for image in (*labeled, *pool, *candidates)}
        row = {key: number for number, key in enumerate(images)}

        def rows(of: Sequence[PoolImage]) -> IntArray:
            return np.array([row[image.key] for image in of], dtype=np.int64)

        return cls(
            images=list(images.values()),
            labeled=rows(labeled),
            initial=rows([image for image in labeled if image.key in sets.initial]),
            pool=rows(pool),
            candidates=rows(candidates),
        )

    def readable(self, decoded: DecodedImages) -> KernelSample:
        """Without the images that could not be read."""
        images = decoded.readable(self.images)
        there = {image.key for image in images}
        keep = np.array([image.key in there for image in self.images], dtype=bool)
        row = np.cumsum(keep) - 1

        def moved(rows: IntArray) -> IntArray:
            found: IntArray = row[rows[keep[rows]]]
            return found

        return KernelSample(
            images=images,
            labeled=moved(self.labeled),
            initial=moved(self.initial),
            pool=moved(self.pool),
            candidates=moved(self.candidates),
        )

    def classes(self, rows: IntArray, labels: Mapping[int, int]) -> IntArray:
        """Class positions (n,) of the images of some rows, from ``labels`` by sample key."""
        return np.array([labels[self.images[row].key] for row in rows], dtype=np.int64)


@dataclass(frozen=True)
class PoolSample:
    """Where random batches are drawn from: all of the ``population`` samples outside S, or a uniform sample of them."""

    images: Sequence[PoolImage]
    population: int

    @classmethod
    def draw(cls, sets: Sets, kernel_samples: int, seed: int) -> PoolSample:
        """As many as are affordable beside ``kernel_samples``, and enough for batches of the size in question."""
        most = max(POOL_PER_SAMPLE * kernel_samples, 2 * sets.budget)
        return cls(_uniform(sets.pool, most, generator(seed, "pool sample")), len(sets.pool))

    def readable(self, decoded: DecodedImages) -> PoolSample:
        """Without the images that could not be read."""
        return replace(self, images=decoded.readable(self.images))


@dataclass(frozen=True)
class RandomBatches:
    """Which uniform batches a distribution is over: so many, of this size."""

    count: int
    size: int
    seed: int


def _uniform(images: Sequence[PoolImage], most: int, random: np.random.Generator) -> list[PoolImage]:
    """All of ``images``, or a uniform sample of them, in their order."""
    if len(images) <= most:
        return list(images)
    return [images[row] for row in np.sort(random.choice(len(images), most, replace=False))]
