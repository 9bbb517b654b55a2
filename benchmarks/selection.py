"""How long it takes to choose 1,000 of a million stored scores, beside what bare numpy needs.

    python benchmarks/selection.py [--rows N] [--set-rows N] [--budget B] [--classes K]
    python benchmarks/selection.py --strategies margin badge

First the strategies that value each sample by itself. "arrays" is np.argpartition on values that are in memory already;
"numpy" first reads the same columns from the same shards through safetensors, whole. Neither breaks ties, looks at
eligibility, or verifies checksums, and for the uncertainty scores neither computes them from probabilities. "eligible"
is the share of the pool that may be chosen. Times are the best of five, in milliseconds, with files in the page cache
and every file's header read anew.

Then those that choose a set by features or gradient sketches, from a smaller pool, one run each, in seconds; "read" is
reading the same columns. Selection knows arrays only and runs on the processor whatever the device.
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

from dalcli.config.schema import QueryConfig
from dalcli.scoring.columns import COLUMNS
from dalcli.scoring.table import ScoreTable, ShardMetadata, write_shard
from dalcli.strategies.base import Request, Strategy
from dalcli.strategies.registry import STRATEGIES, create
from dalcli.strategies.samples import SampleSet

SHARD_ROWS = 2048
WIDE = {"features", "sketch"}


@dataclass(frozen=True)
class Written:
    """A table on disk: all digests (n, 16), one column of values (n,), and the shards that hold everything."""

    digests: np.ndarray
    values: np.ndarray
    paths: list[Path]


def by_value(strategies: dict[str, Strategy], table: Written, budget: int) -> None:
    """A row per strategy and share of the pool that is eligible, in milliseconds."""
    print(f"{'strategy':<20}{'eligible':>9}{'ours':>9}{'arrays':>9}{'ratio':>8}{'numpy':>9}{'ratio':>8}")
    arrays = best_of(5, partial(partition, table.values, budget))
    for name, strategy in strategies.items():
        columns = ("digest", *strategy.columns)
        bare = best_of(5, partial(read_and_partition, table, columns, budget))
        for share in (1.0, 0.5):
            eligible = SampleSet(table.digests[: int(share * len(table.digests))])
            ours = best_of(5, partial(select, strategy, table.paths, eligible, budget))
            against = f"{arrays:>9.1f}{ours / arrays:>8.1f}{bare:>9.1f}{ours / bare:>8.1f}"
            print(f"{name:<20}{share:>9.0%}{ours:>9.1f}{against}", flush=True)


def as_sets(strategies: dict[str, Strategy], table: Written, budget: int) -> None:
    """A row per strategy, in seconds."""
    print(f"{'strategy':<20}{'seconds':>9}{'read':>9}")
    eligible = SampleSet(table.digests)
    for name, strategy in strategies.items():
        bare = best_of(1, partial(read_and_partition, table, ("digest", *strategy.columns), budget))
        ours = best_of(1, partial(select, strategy, table.paths, eligible, budget))
        print(f"{name:<20}{ours / 1e3:>9.2f}{bare / 1e3:>9.2f}", flush=True)


def write_table(folder: Path, rows: int, classes: int, widths: dict[str, int]) -> Written:
    """Random scores, ``widths`` numbers of ``features`` and ``sketch`` per sample."""
    folder.mkdir()
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
        }
        columns |= {name: rng.standard_normal((len(part), width), np.float32) for name, width in widths.items()}
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


def best_of(turns: int, work: Callable[[], object]) -> float:
    """Milliseconds of the fastest run."""
    times = []
    for _ in range(turns):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


def able(names: Sequence[str]) -> dict[str, Strategy]:
    """The strategies that such a table suffices for; a line for each of the others."""
    found = {}
    for name in names:
        strategy = create(name, QueryConfig())
        lacking = set(strategy.columns) - COLUMNS.keys()
        if lacking:
            print(f"skipped: {name} needs {', '.join(sorted(lacking))}")
        else:
            found[name] = strategy
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Write tables to a temporary folder, and time strategies on them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strategies", nargs="+", default=list(STRATEGIES), choices=list(STRATEGIES), metavar="NAME")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--set-rows", type=int, default=20_000)
    parser.add_argument("--budget", type=int, default=1_000)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--features", type=int, default=128, help="numbers per sample")
    parser.add_argument("--sketch", type=int, default=512, help="numbers per sample")
    options = parser.parse_args(arguments)
    strategies = able(options.strategies)
    sets = {name: strategy for name, strategy in strategies.items() if WIDE & set(strategy.columns)}
    values = {name: strategy for name, strategy in strategies.items() if name not in sets}
    with tempfile.TemporaryDirectory() as folder:
        if values:
            print(f"\n{options.budget:,} of {options.rows:,}, {options.classes} classes, {SHARD_ROWS} a shard; ms")
            table = write_table(Path(folder) / "values", options.rows, options.classes, {"features": 1})
            by_value(values, table, options.budget)
        if sets:
            widths = {"features": options.features, "sketch": options.sketch}
            print(f"\n{options.budget:,} of {options.set_rows:,}, {options.classes} classes, {widths}; seconds")
            table = write_table(Path(folder) / "sets", options.set_rows, options.classes, widths)
            as_sets(sets, table, options.budget)


if __name__ == "__main__":
    main()
