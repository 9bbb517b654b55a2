"""Columns of many samples as arrays, in an order that depends on the seed and the samples alone.

The order is that of the tie-breaking keys: random, different for every seed, the same whatever the order of the table.
What is computed from arrays in this order is the same bit for bit, and "the first of equals" is an unbiased choice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from dalcli.scores.columns import Array, Digests
from dalcli.scores.samples import SampleSet
from dalcli.strategies.base import Request, members

_LOOKUP_SHARE = 4  # rows are picked one by one if they are fewer than 1/4 of the table
_CHUNK_BYTES = 128 << 20


def keyed_order(request: Request, samples: SampleSet) -> Digests:
    """The samples (n, 16) in the order of their keys."""
    return samples.digests[np.argsort(request.keys(samples.digests), kind="stable")]


def row_bytes(request: Request, columns: Sequence[str]) -> int:
    """Memory of one sample's columns, as :func:`gather` holds them."""
    layout = request.scores(columns).layout
    return sum(math.prod(layout[name][1]) * _held(layout[name][0]).itemsize for name in dict.fromkeys(columns))


def gather(request: Request, digests: Digests, columns: Sequence[str]) -> dict[str, Array]:
    """The named columns of ``digests`` (n, 16), in that order, float16 as float32; nothing is held twice.

    Raises:
        NotReadyError: one of the samples has not been scored.
    """
    table = request.scores(columns)
    if _LOOKUP_SHARE * len(digests) < len(request.eligible) + len(request.labeled) + len(request.in_flight):
        found = table.lookup(digests, columns)
        return {name: np.asarray(found[name], _held(str(found[name].dtype))) for name in columns}
    samples = SampleSet(digests)
    place = np.empty(len(digests), np.int64)
    place[samples.find(digests)] = np.arange(len(digests))
    layout = table.layout
    arrays = {name: np.empty((len(digests), *layout[name][1]), _held(layout[name][0])) for name in columns}
    for block in members(table.blocks(columns), samples, complete=True):
        rows = place[samples.find(block.digests)]
        for name in columns:
            arrays[name][rows] = block[name]
    return arrays


def chunks(request: Request, samples: SampleSet, columns: Sequence[str]) -> Iterator[Mapping[str, Array]]:
    """The columns of those ``samples`` that have been scored, some at a time, always cut in the same places."""
    if not len(samples):
        return
    present = np.concatenate(
        [np.empty((0, 16), np.uint8)]
        + [block.digests for block in members(request.scores(()).blocks(()), samples, complete=False)]
    )
    ordered = keyed_order(request, SampleSet(present))
    step = max(1, _CHUNK_BYTES // row_bytes(request, columns))
    for start in range(0, len(ordered), step):
        yield gather(request, ordered[start : start + step], columns)


def _held(dtype: str) -> np.dtype[np.generic]:
    return np.dtype("float32" if dtype == "float16" else dtype)
