"""In-memory score tables and requests for the strategy tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from dalcli.data.identity import tie_keys
from dalcli.scores.samples import SampleSet
from dalcli.scores.table import ScoreBlock
from dalcli.strategies.base import MEMORY_LIMIT, Request

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

    def lookup(self, digests: np.ndarray, columns: Sequence[str]) -> dict[str, np.ndarray]:
        row = {sample: number for number, sample in enumerate(ids(self.digests))}
        rows = [row[sample] for sample in ids(digests)]
        return {name: self.columns[name][rows] for name in columns}

    @property
    def layout(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        return {name: (str(array.dtype), array.shape[1:]) for name, array in self.columns.items()}

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
    in_flight: SampleSet = NOBODY,
    memory_limit: int = MEMORY_LIMIT,
) -> Request:
    """A request over ``table``; everything is eligible unless ``eligible`` digests are given."""
    digests = table.digests if eligible is None and table is not None else eligible
    assert digests is not None
    return Request(budget, SampleSet(digests), seed, table, labeled, in_flight, memory_limit)


def rows_of(table: ArrayTable, digests: np.ndarray) -> list[int]:
    """Row numbers in ``table`` of a selection."""
    row = {sample: number for number, sample in enumerate(ids(table.digests))}
    return [row[sample] for sample in ids(digests)]


def keyed_rows(table: ArrayTable, asked: Request) -> list[int]:
    """The eligible rows of ``table`` in the order of their keys, in plain Python."""
    keys = tie_keys(asked.seed, table.digests).tolist()
    eligible = set(ids(asked.eligible.digests))
    names = ids(table.digests)
    return sorted((row for row, name in enumerate(names) if name in eligible), key=lambda row: (keys[row], names[row]))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Class probabilities in float32, as score tables hold them."""
    grown = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return (grown / grown.sum(axis=-1, keepdims=True)).astype(np.float32)


def model_table(
    count: int, classes: int = 4, width: int = 5, seed: int = 0, cuts: Sequence[int] = (), sketch: int = 6
) -> ArrayTable:
    """A table with every column, of random numbers."""
    rng = np.random.default_rng(seed)
    columns = {
        "probabilities": softmax(rng.standard_normal((count, classes)) * 2),
        "features": np.maximum(rng.standard_normal((count, width)), 0).astype(np.float32),
        "grad_sq_norm": rng.gamma(2.0, size=count),
        "grad_inner": rng.standard_normal(count),
        "sketch": rng.standard_normal((count, sketch)).astype(np.float32),
    }
    return ArrayTable(random_digests(count, seed), columns, cuts)


def ids(digests: np.ndarray) -> list[str]:
    return [row.tobytes().hex() for row in digests]
