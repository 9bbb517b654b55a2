"""Maximum mean discrepancy in the kernel's space (Eq. 23), with the reference that gives it a meaning.

MMD as a V-statistic is never zero: two random halves of one set are some way apart, too. A set drawn uniformly from a
larger one and what is left of it can be exchanged without changing their joint distribution, so a permutation test of
"this set is a uniform draw" is exact (Gretton et al. 2012).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dalcli.data.pixels import IntArray
from dalcli.scores.columns import Floats

BLOCK = 256  # permutations at a time


@dataclass(frozen=True, kw_only=True)
class Discrepancy:
    """How far apart two sets are: their MMD, and where it stands among random partitions of their union.

    ``first``, ``second``: how many samples the sets A and B have.
    ``unbiased_squared``: the U-statistic of MMD², about 0 for equal distributions (and then often negative).
    ``random_median``, ``random_high``: median and 95% quantile of the MMD over random partitions; ``p_value``: the
    fraction of partitions, this one counted, that are at least as far apart.
    """

    first: int
    second: int
    mmd: float
    unbiased_squared: float
    random_median: float
    random_high: float
    p_value: float
    permutations: int

    def from_whole(self, share: float) -> Discrepancy:
        """That of A from the whole that it was taken from, where B is what is left of it.

        A being the fraction 1 − ``share`` of the whole, that distance is exactly ``share`` times the one from B, and so
        are those of random partitions; the p-value stays.
        """
        return replace(
            self,
            mmd=share * self.mmd,
            unbiased_squared=share**2 * self.unbiased_squared,
            random_median=share * self.random_median,
            random_high=share * self.random_high,
        )


def mmd_squared(theta: Floats, first: IntArray, second: IntArray) -> float:
    """mean Θ(A, A) + mean Θ(B, B) − 2 mean Θ(A, B), the V-statistic; the sets may overlap."""
    weights = np.zeros(len(theta))
    np.add.at(weights, first, 1 / len(first))
    np.add.at(weights, second, -1 / len(second))
    return float(weights @ theta @ weights)


def unbiased_mmd_squared(theta: Floats, first: IntArray, second: IntArray) -> float:
    """The U-statistic: the diagonal left out within each set; disjoint sets of at least two samples."""

    def within(rows: IntArray) -> float:
        block = theta[np.ix_(rows, rows)]
        return float((block.sum() - np.trace(block)) / (len(rows) * (len(rows) - 1)))

    return within(first) + within(second) - 2 * float(theta[np.ix_(first, second)].mean())


def compare(
    theta: Floats, first: IntArray, second: IntArray, permutations: int, random: np.random.Generator
) -> Discrepancy:
    """Two disjoint sets of at least two samples each, tested against random partitions of their union."""
    union = np.concatenate([first, second])
    block = theta[np.ix_(union, union)]
    size = len(first)
    weights = np.concatenate([np.full(size, 1 / size), np.full(len(second), -1 / len(second))])
    observed = float(weights @ block @ weights)
    found: list[Floats] = []
    for start in range(0, permutations, BLOCK):
        count = min(BLOCK, permutations - start)
        mixed = random.permuted(np.tile(weights, (count, 1)), axis=1)
        found.append(np.einsum("tn,tn->t", mixed @ block, mixed))
    random_squared = np.concatenate(found) if found else np.empty(0)
    # The observed partition may come up again; rounding must not hide that it is as far apart as itself.
    as_far = int(np.count_nonzero(random_squared >= observed * (1 - 1e-12)))
    median, high = np.sqrt(np.maximum(np.quantile(random_squared, [0.5, 0.95]), 0.0))
    return Discrepancy(
        first=size,
        second=len(second),
        mmd=float(np.sqrt(max(observed, 0.0))),
        unbiased_squared=unbiased_mmd_squared(theta, first, second),
        random_median=float(median),
        random_high=float(high),
        p_value=(1 + as_far) / (1 + permutations),
        permutations=permutations,
    )
