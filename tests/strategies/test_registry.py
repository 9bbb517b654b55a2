"""Strategies by name, and every registered one keeps the promises made to users."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from pools import ids, random_digests

from dalcli.config.schema import QueryConfig
from dalcli.errors import BadInputError
from dalcli.scoring.table import ScoreTable, ShardMetadata, write_shard
from dalcli.strategies.base import Request
from dalcli.strategies.dynamical import Dynamical
from dalcli.strategies.registry import STRATEGIES, create
from dalcli.strategies.samples import SampleSet
from dalcli.strategies.selection import TopValues


def stored(folder: Path, digests: np.ndarray, order: np.ndarray, shard_size: int, kind: str) -> ScoreTable:
    """Scores on disk for ``digests``, in ``order``; ``kind`` degenerates them."""
    rng = np.random.default_rng(2)
    count = len(digests)
    logits = rng.standard_normal((count, 1 if kind == "one class" else 5)) * 4
    columns = {
        "digest": digests,
        "grad_sq_norm": rng.random(count),
        "grad_inner": rng.standard_normal(count),
        "probabilities": (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32),
        "features": rng.standard_normal((count, 3)).astype(np.float32),
    }
    if kind in ("equal", "nan", "zero"):
        fill = {"equal": 0.2, "nan": math.nan, "zero": 0.0}[kind]
        columns |= {name: np.full_like(array, fill) for name, array in columns.items() if name != "digest"}
    folder.mkdir()
    paths = []
    for start in range(0, count, shard_size):
        paths.append(folder / f"shard-{start:05d}.safetensors")
        rows = order[start : start + shard_size]
        write_shard(paths[-1], {name: array[rows] for name, array in columns.items()}, ShardMetadata("m-1", 8))
    return ScoreTable(paths)


@pytest.mark.parametrize("kind", ["ordinary", "equal", "nan", "zero", "one class"])
@pytest.mark.parametrize("budget", [1, 40, 1000])
@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_keeps_the_promises(tmp_path: Path, name: str, budget: int, kind: str) -> None:
    digests = random_digests(200)
    eligible, labeled = SampleSet(digests[:150]), SampleSet(digests[150:])
    strategy = create(name, QueryConfig())

    def choose(label: str, order: np.ndarray, shard_size: int) -> list[str]:
        table = stored(tmp_path / label, digests, order, shard_size, kind)
        return ids(strategy.select(Request(budget, eligible, seed=3, table=table, labeled=labeled)).digests)

    chosen = choose("a", np.arange(200), 64)
    assert len(chosen) == min(budget, 150)
    assert len(set(chosen)) == len(chosen)
    assert set(chosen) <= set(ids(digests[:150]))
    assert choose("b", np.random.default_rng(1).permutation(200), 33) == chosen


def test_gamma_reaches_the_strategy() -> None:
    assert create("dynamical", QueryConfig(gamma=0.5)) == TopValues(Dynamical(0.5))


def test_the_configured_defaults_exist_and_the_cold_start_needs_no_model() -> None:
    defaults = QueryConfig()
    assert create(defaults.strategy, defaults).columns
    assert not create(defaults.cold_start, defaults, key="query.cold_start").columns


def test_an_unknown_name_is_explained() -> None:
    with pytest.raises(BadInputError) as caught:
        create("marginn", QueryConfig())
    assert caught.value.message == "query.strategy: unknown strategy 'marginn': did you mean 'margin'?"
    assert caught.value.remedy == "choose one of: dynamical, random, confidence, margin, entropy"
    with pytest.raises(BadInputError, match=r"query\.cold_start: unknown strategy 'zzz'\n"):
        create("zzz", QueryConfig(), key="query.cold_start")
