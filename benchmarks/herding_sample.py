"""What uncertainty herding loses where a sample stands for the pool.

    python benchmarks/herding_sample.py [--rows N] [--representatives 1024,4096] [--seeds S]

Pools of clustered features whose spectrum falls off, and three models on them: sure of most samples, of some, of none.
For each: the mean of u = 1 − margin, then the objective that a batch gains, in per cent of what the exact greedy choice
(all pairs of the pool) gains: by the closest calls, by a random batch, and by batches chosen with so many
representatives.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from dalcli.scores.samples import SampleSet
from dalcli.strategies.base import Request
from dalcli.strategies.doubt import doubt_and_second
from dalcli.strategies.margin import Margin
from dalcli.strategies.memory_table import MemoryTable
from dalcli.strategies.random import Random
from dalcli.strategies.selection import TopValues
from dalcli.strategies.uncertainty_herding import UncertaintyHerding, sq_width

CLASSES, WIDTH, GROUPS = 20, 256, 160
SHARPNESS = {"sure": 300.0, "half-sure": 30.0, "unsure": 3.0}


def main(arguments: Sequence[str] | None = None) -> None:
    """One line per model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=12_000)
    parser.add_argument("--labeled", type=int, default=400)
    parser.add_argument("--budget", type=int, default=400)
    parser.add_argument("--representatives", default="1024,2048,4096,8192")
    parser.add_argument("--candidates", type=int, default=16_384)
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args(arguments)
    counts = [int(count) for count in options.representatives.split(",")]
    print(f"{options.rows:,} samples, {options.labeled:,} labeled, {options.budget:,} chosen\n")
    print(f"{'model':<12}{'mean u':>8}{'margin':>8}{'random':>8}" + "".join(f"{count:>8,}" for count in counts))
    for name, sharpness in SHARPNESS.items():
        table, digests, pool = pool_of(options.rows, sharpness)
        labeled, eligible = SampleSet(digests[: options.labeled]), SampleSet(digests[options.labeled :])
        asked = [
            Request(options.budget, eligible, seed, table, labeled, memory_limit=1 << 40)
            for seed in range(options.seeds)
        ]
        gain = Gain(pool, digests, options.labeled, sq_width(asked[0]))
        best = gain.of(UncertaintyHerding(exact=options.rows).select(asked[0]).digests)
        others = [TopValues(Margin()), Random()]
        others += [UncertaintyHerding(0, count, max(options.candidates, 2 * count)) for count in counts]
        shares = [100 * np.mean([gain.of(other.select(one).digests) for one in asked]) / best for other in others]
        print(f"{name:<12}{gain.mean:>8.2f}" + "".join(f"{s:>8.1f}" for s in shares), flush=True)


def pool_of(rows: int, sharpness: float) -> tuple[MemoryTable, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """A table, its digests in random order, and the unit features and u of these."""
    rng = np.random.default_rng(0)
    spectrum = (np.arange(1, WIDTH + 1) ** -0.7).astype(np.float32)
    centres = rng.standard_normal((GROUPS, WIDTH), np.float32) * spectrum
    group = rng.choice(GROUPS, rows, p=rng.dirichlet(np.ones(GROUPS)))
    features = centres[group] + 0.7 * rng.standard_normal((rows, WIDTH), np.float32) * spectrum
    features = np.maximum(features + np.float32(0.1), 0)
    means = centres.reshape(CLASSES, -1, WIDTH).mean(axis=1)
    logits = np.float32(sharpness) * (features - features.mean(axis=0)) @ (means - means.mean(axis=0)).T
    logits += 0.5 * rng.standard_normal(logits.shape, np.float32)
    grown = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = grown / grown.sum(axis=1, keepdims=True)
    digests = rng.integers(0, 256, (rows, 16), dtype=np.uint8)
    table = MemoryTable(digests, {"features": features, "probabilities": probabilities})
    doubt, second = doubt_and_second(probabilities)
    return table, digests, (features / np.linalg.norm(features, axis=1, keepdims=True), doubt + second)


class Gain:
    """By how much a batch raises Σ u(x) · max k(x, s) over the pool, in float64 over all pairs."""

    def __init__(self, pool: tuple[np.ndarray, np.ndarray], digests: np.ndarray, labeled: int, width: float) -> None:
        self._all = pool[0].astype(np.float64)
        self._x, self._u, self._width = self._all[labeled:], pool[1][labeled:], width
        self._row = {digest.tobytes(): row for row, digest in enumerate(digests)}
        self._covered = self._coverage(np.arange(labeled))
        self.mean = float(self._u.mean())

    def of(self, digests: np.ndarray) -> float:
        rows = np.array([self._row[digest.tobytes()] for digest in digests])
        return float(np.maximum(self._coverage(rows) - self._covered, 0) @ self._u)

    def _coverage(self, rows: np.ndarray) -> np.ndarray:
        similar = np.full(len(self._x), -np.inf)
        for row in np.array_split(rows, max(1, len(rows) // 200)):
            similar = np.maximum(similar, (self._x @ self._all[row].T).max(axis=1, initial=-np.inf))
        return np.exp((2.0 * similar - 2.0) / self._width)


if __name__ == "__main__":
    main()
