"""Time and peak memory of every strategy on a large pool.

    python benchmarks/large_selection.py [--rows N] [--classes K] [--width D] [--budget B] [--strategies a,b]

Writes a score table of random numbers (float32 features of rank ``--width``, probabilities of all classes, dropout
samples if a strategy reads them) to a temporary folder, then chooses with each strategy in a process of its own:
seconds, processor seconds of all threads (on a busy machine the better measure), and the largest resident size that
process reached (all of it: the interpreter, numpy, the score columns).
100,000 × (10 + 1,280) float32 are 516 MB. Features of full rank are a worst case: no point is much nearer than others.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dalcli.config.querying import QueryConfig
from dalcli.runtime.memory import peak_bytes
from dalcli.scores.samples import SampleSet
from dalcli.scores.table import ScoreTable, ShardMetadata, write_shard
from dalcli.strategies.base import Request
from dalcli.strategies.registry import STRATEGIES, create

SHARD_ROWS = 2048


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the table, then run this file once for each strategy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--width", type=int, default=1_280)
    parser.add_argument("--sketch", type=int, default=512)
    parser.add_argument("--labeled", type=int, default=2_000)
    parser.add_argument("--mc-samples", type=int, default=10)
    parser.add_argument("--budget", type=int, default=1_000)
    parser.add_argument("--strategies", default=",".join(STRATEGIES))
    parser.add_argument("--table", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.table is not None:
        choose(Path(options.table), options.strategies, options.labeled, options.budget)
        return
    print(f"{options.rows:,} samples ({options.labeled:,} labeled), {options.classes:,} classes, {options.width:,}")
    print(f"features, sketches of {options.sketch}; choosing {options.budget:,} on {os.cpu_count()} cores\n")
    print(f"{'strategy':<20}{'seconds':>9}{'cpu s':>9}{'peak MB':>9}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        write_table(Path(folder), options)
        for name in options.strategies.split(","):
            sizes = ["--labeled", str(options.labeled), "--budget", str(options.budget)]
            command = [sys.executable, __file__, "--table", folder, "--strategies", name, *sizes]
            print(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout, end="", flush=True)


def write_table(folder: Path, options: argparse.Namespace) -> None:
    """Clustered features, and probabilities of a linear model on them."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((options.classes, options.width), np.float32)
    read = {column for name in options.strategies.split(",") for column in create(name, QueryConfig()).columns}
    for start in range(0, options.rows, SHARD_ROWS):
        count = min(SHARD_ROWS, options.rows - start)
        label = rng.integers(0, options.classes, count)
        features = np.maximum(centres[label] + rng.standard_normal((count, options.width), np.float32), 0)
        logits = 4.0 * rng.standard_normal((count, options.classes), np.float32)
        logits[np.arange(count), label] += 12.0
        columns = {
            "digest": rng.integers(0, 256, (count, 16), dtype=np.uint8),
            "grad_sq_norm": rng.gamma(2.0, size=count),
            "grad_inner": rng.standard_normal(count),
            "probabilities": softmax(logits),
            "features": features,
            "sketch": rng.standard_normal((count, options.sketch)).astype(np.float16),
        }
        if "mc_probabilities" in read:
            noise = rng.standard_normal((count, options.mc_samples, options.classes), np.float32)
            columns["mc_probabilities"] = softmax(logits[:, None] + 2.0 * noise).astype(np.float16)
        write_shard(folder / f"shard-{start:08d}.safetensors", columns, ShardMetadata("benchmark", 128))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities over the last axis."""
    grown: np.ndarray = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return grown / grown.sum(axis=-1, keepdims=True)


def choose(folder: Path, name: str, labeled: int, budget: int) -> None:
    """One selection in this process, and what it took."""
    table = ScoreTable(sorted(folder.glob("shard-*.safetensors")))
    digests = np.concatenate([block.digests for block in table.blocks(())])
    request = Request(budget, SampleSet(digests[labeled:]), 1, table, SampleSet(digests[:labeled]))
    start, busy = time.perf_counter(), time.process_time()
    selection = create(name, QueryConfig()).select(request)
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    assert len(selection.digests) == min(budget, len(digests) - labeled)
    peak = (peak_bytes() or 0) / 1e6
    print(f"{name:<20}{seconds:>9.1f}{busy:>9.1f}{peak:>9.0f}  {'; '.join(selection.notes)}", flush=True)


if __name__ == "__main__":
    main()
