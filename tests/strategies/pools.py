"""In-memory score tables and requests for the strategy tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from dalcli.scoring.table import ScoreBlock
from dalcli.strategies.base import Request
from dalcli.strategies.samples import SampleSet

NOBODY = SampleSet.EMPTY


class ArrayTable:
    """A score table of arrays, cut into blocks at ``cuts``."""

    def __init__(self, digests: np.ndarray, columns: dict[str, np.ndarray], cuts: Sequence[int] = ()) -> None:
        self.digests, self.columns = digests, columns
        self.edges = [0, *sorted(cuts), len(digests)]
        self.passes = 0

    def blocks(self, columns: Sequence[str]) -> Iterator[ScoreBlock]:
        self.passes += 1
        for start, stop in zip(self.edges[:-1], self.edges[1:], strict=True):
            yield ScoreBlock(self.digests[start:stop], {name: self.columns[name][start:stop] for name in columns})

    def shuffled(self, rng: np.random.Generator, cuts: Sequence[int] = ()) -> ArrayTable:
        order = rng.permutation(len(self.digests))
        return ArrayTable(self.digests[order], {name: array[order] for name, array in self.columns.items()}, cuts)


def random_digests(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 16), dtype=np.uint8)


def pool(values: Sequence[float] | np.ndarray, seed: int = 0, cuts: Sequence[int] = ()) -> ArrayTable:
    """A table whose ``grad_inner`` column is ``values``, so that Dynamical(inf) selects by them."""
    array = np.asarray(values, np.float64)
    return ArrayTable(random_digests(len(array), seed), {"grad_inner": array}, cuts)


def request(
    table: ArrayTable | None,
    budget: int,
    eligible: np.ndarray | None = None,
    seed: int = 1,
    labeled: SampleSet = NOBODY,
) -> Request:
    """A request over ``table``; everything is eligible unless ``eligible`` digests are given."""
    digests = table.digests if eligible is None and table is not None else eligible
    assert digests is not None
    return Request(budget, SampleSet(digests), seed, table, labeled)


def ids(digests: np.ndarray) -> list[str]:
    return [row.tobytes().hex() for row in digests]
