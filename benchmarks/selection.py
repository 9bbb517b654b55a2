"""How long it takes to choose 1,000 of a million stored scores, beside what bare numpy needs.

    python benchmarks/selection.py [--rows N] [--budget B] [--classes K] [--strategies NAME ...]

For strategies that value each sample by itself; those that compare samples are in ``large_selection.py``. "arrays" is
np.argpartition on values that are in memory already; "numpy" first reads the same columns from the same shards through
safetensors, whole. Neither breaks ties, looks at eligibility, or verifies checksums, and for the uncertainty scores
neither computes them from probabilities. "eligible" is the share of the pool that may be chosen. Times are the best of
five, in milliseconds, with files in the page cache and every file's header read anew. Selection knows arrays only, and
runs on the processor whatever the device.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from safetensors import safe_open

from dalcli.config.querying import QueryConfig
from dalcli.scores.samples import SampleSet
from dalcli.scores.table import ScoreTable, ShardMetadata, write_shard
from dalcli.strategies.base import Request, Strategy
from dalcli.strategies.registry import STRATEGIES, create

SHARD_ROWS = 2048
VALUED = {"grad_sq_norm", "grad_inner", "probabilities"}


@dataclass(frozen=True)
class Written:
    """A table on disk: all digests (n, 16), one column of values (n,), and the shards that hold everything."""

    digests: np.ndarray
    values: np.ndarray
    paths: list[Path]


def by_value(strategies: dict[str, Strategy], table: Written, budget: int) -> None:
    """A row per strategy and share of the pool that is eligible, in milliseconds."""
    print(f"{'strategy':<20}{'eligible':>9}{'ours':>9}{'arrays':>9}{'ratio':>8}{'numpy':>9}{'ratio':>8}")
    arrays = best_of_five(partial(partition, table.values, budget))
    for name, strategy in strategies.items():
        columns = ("digest", *strategy.columns)
        bare = best_of_five(partial(read_and_partition, table, columns, budget))
        for share in (1.0, 0.5):
            eligible = SampleSet(table.digests[: int(share * len(table.digests))])
            ours = best_of_five(partial(select, strategy, table.paths, eligible, budget))
            against = f"{arrays:>9.1f}{ours / arrays:>8.1f}{bare:>9.1f}{ours / bare:>8.1f}"
            print(f"{name:<20}{share:>9.0%}{ours:>9.1f}{against}", flush=True)


def write_table(folder: Path, rows: int, classes: int) -> Written:
    """Random scores."""
    rng = np.random.default_rng(0)
    digests = rng.integers(0, 256, (rows, 16), dtype=np.uint8)
    values = rng.gamma(2.0, size=rows)
    paths = []
    for start in range(0, rows, SHARD_ROWS):
        part = digests[start : start + SHARD_ROWS]
        columns = {
            "digest": part,
            "grad_sq_norm": values[start : start + SHARD_ROWS],
            "grad_inner": rng.standard_normal(len(part)),
            "probabilities": rng.dirichlet(np.ones(classes), len(part)).astype(np.float32),
            "features": np.zeros((len(part), 1), np.float32),
        }
        paths.append(folder / f"shard-{start:08d}.safetensors")
        write_shard(paths[-1], columns, ShardMetadata("benchmark", 128))
    return Written(digests, values, paths)


def select(strategy: Strategy, paths: list[Path], eligible: SampleSet, budget: int) -> None:
    """One selection, as ``query`` does it."""
    strategy.select(Request(budget, eligible, seed=1, table=ScoreTable(paths)))


def partition(values: np.ndarray, budget: int) -> np.ndarray:
    """Where the ``budget`` highest values are."""
    return np.argpartition(values, len(values) - budget)[-budget:]


def read_and_partition(table: Written, columns: tuple[str, ...], budget: int) -> np.ndarray:
    """The least that any implementation has to do: read the columns, partition one value per row, index."""
    parts = []
    for path in table.paths:
        with safe_open(path, framework="numpy") as file:
            parts.append([file.get_tensor(name) for name in columns])
    digests, *_ = (np.concatenate(column) for column in zip(*parts, strict=True))
    return digests[partition(table.values, budget)]


def best_of_five(work: Callable[[], object]) -> float:
    """Milliseconds of the fastest of five runs."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


def able(names: Sequence[str]) -> dict[str, Strategy]:
    """The strategies that such a table suffices for; a line for each of the others."""
    found = {}
    for name in names:
        strategy = create(name, QueryConfig())
        others = set(strategy.columns) - VALUED
        if others:
            print(f"skipped: {name} reads {', '.join(sorted(others))}")
        else:
            found[name] = strategy
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Write a table to a temporary folder, and time strategies on it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strategies", nargs="+", default=list(STRATEGIES), choices=list(STRATEGIES), metavar="NAME")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--budget", type=int, default=1_000)
    parser.add_argument("--classes", type=int, default=10)
    options = parser.parse_args(arguments)
    print(f"{options.rows:,} samples, {options.classes} classes, {SHARD_ROWS} a shard; choosing {options.budget:,}")
    with tempfile.TemporaryDirectory() as folder:
        by_value(able(options.strategies), write_table(Path(folder), options.rows, options.classes), options.budget)


if __name__ == "__main__":
    main()
