"""Strategies by name, and every registered one keeps the promises made to users."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pools import ids, model_table, pool, random_digests, request, rows_of

from dalcli.config.querying import QueryConfig
from dalcli.errors import BadInputError, NotReadyError
from dalcli.scores.samples import SampleSet
from dalcli.scores.table import ScoreTable, ShardMetadata, write_shard
from dalcli.strategies.base import Request
from dalcli.strategies.diverse import Diverse
from dalcli.strategies.dynamical import Dynamical
from dalcli.strategies.registry import STRATEGIES, create
from dalcli.strategies.selection import TopValues


def stored(folder: Path, digests: np.ndarray, order: np.ndarray, shard_size: int, kind: str) -> ScoreTable:
    """Scores on disk for ``digests``, in ``order``; ``kind`` degenerates them."""
    rng = np.random.default_rng(2)
    count = len(digests)
    logits = rng.standard_normal((count, {"one class": 1, "many classes": 40}.get(kind, 5))) * 4
    columns = {
        "digest": digests,
        "grad_sq_norm": rng.random(count),
        "grad_inner": rng.standard_normal(count),
        "probabilities": (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32),
        "features": rng.standard_normal((count, 3)).astype(np.float32),
        "sketch": rng.standard_normal((count, 4)).astype(np.float16),
    }
    columns["mc_probabilities"] = rng.dirichlet(np.ones(logits.shape[1]), (count, 6)).astype(np.float16)
    numbers = [name for name in columns if name != "digest"]
    if kind in ("equal", "nan", "zero", "inf"):
        fill = {"equal": 0.2, "nan": math.nan, "zero": 0.0, "inf": math.inf}[kind]
        columns |= {name: np.full_like(columns[name], fill) for name in numbers}
    elif kind == "partly nan":
        for name in numbers:
            columns[name][rng.random(count) < 0.3] = math.nan
    elif kind == "one differs":
        columns |= {name: np.repeat(columns[name][:1], count, axis=0) for name in numbers}
        columns["features"][7], columns["sketch"][7] = 30.0, 30.0
    elif kind == "huge":
        columns["features"] = (columns["features"] * 1e30).astype(np.float32)
        columns["grad_sq_norm"] = columns["grad_sq_norm"] * 1e300
    folder.mkdir()
    paths = []
    for start in range(0, count, shard_size):
        paths.append(folder / f"shard-{start:05d}.safetensors")
        rows = order[start : start + shard_size]
        write_shard(paths[-1], {name: array[rows] for name, array in columns.items()}, ShardMetadata("m-1", 8))
    return ScoreTable(paths)


KINDS = ["ordinary", "equal", "nan", "zero", "inf", "one class", "many classes", "partly nan", "one differs", "huge"]
DIGESTS = random_digests(200)
ELIGIBLE, LABELED, IN_FLIGHT = SampleSet(DIGESTS[:150]), SampleSet(DIGESTS[150:180]), SampleSet(DIGESTS[180:])


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[ScoreTable, ScoreTable]]:
    """For every kind the same scores twice: in order, and shuffled in other shards."""
    folder = tmp_path_factory.mktemp("tables")
    shuffled = np.random.default_rng(1).permutation(200)
    return {
        kind: (
            stored(folder / f"{kind} a", DIGESTS, np.arange(200), 64, kind),
            stored(folder / f"{kind} b", DIGESTS, shuffled, 33, kind),
        )
        for kind in KINDS
    }


def ask(table: ScoreTable, budget: int, seed: int = 3, memory_limit: int = 10**9) -> Request:
    return Request(budget, ELIGIBLE, seed, table, LABELED, IN_FLIGHT, memory_limit)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("budget", [1, 40, 1000])
@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_keeps_the_promises(
    tables: dict[str, tuple[ScoreTable, ScoreTable]], name: str, budget: int, kind: str
) -> None:
    strategy = create(name, QueryConfig())
    selections = [strategy.select(ask(table, budget)) for table in tables[kind]]
    chosen = ids(selections[0].digests)
    assert len(chosen) == min(budget, 150)
    assert len(set(chosen)) == len(chosen)
    assert set(chosen) <= set(ids(DIGESTS[:150]))
    assert ids(selections[1].digests) == chosen
    assert selections[0].non_finite == selections[1].non_finite
    if selections[0].values is not None:
        assert selections[0].values.shape == (len(chosen),)
        np.testing.assert_array_equal(selections[0].values, selections[1].values)


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_seed_decides_between_equals(tables: dict[str, tuple[ScoreTable, ScoreTable]], name: str) -> None:
    strategy = create(name, QueryConfig())
    first, second = (set(ids(strategy.select(ask(tables["equal"][0], 40, seed)).digests)) for seed in (3, 4))
    assert len(first & second) < 30  # 11 expected


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_memory_limit_is_kept_and_said(tables: dict[str, tuple[ScoreTable, ScoreTable]], name: str) -> None:
    """Room for 20 rows of the smallest columns: a batch is larger, and has its size all the same."""
    strategy = create(name, QueryConfig())
    if isinstance(strategy, Diverse):
        strategy = replace(strategy, shortlist=None)
    selection = strategy.select(ask(tables["ordinary"][0], 40, memory_limit=20 * 16))
    assert len(set(ids(selection.digests))) == 40
    if isinstance(strategy, Diverse):
        kind = "a random" if strategy.acquisition is None else "the best"
        assert selection.notes == (f"{kind} 40 of 150 candidates were considered: more exceed query.memory_limit",)
    elif name == "uncertainty-herding":
        (note,) = selection.notes
        assert note.startswith("20 of 150 samples")
        assert note.endswith("the 40 most uncertain were candidates: more exceed query.memory_limit")
    else:
        assert selection.notes == ()


@pytest.mark.parametrize("name", ["gradient-kmeans", "lcmd", "joint-dynamical"])
def test_a_table_without_sketches_names_the_key_to_set(name: str) -> None:
    with pytest.raises(NotReadyError, match=r"gradient sketches.*\n.*scoring\.sketch.*query again"):
        create(name, QueryConfig()).select(request(pool([1.0, 2.0]), 1))


@pytest.mark.parametrize("name", ["bald", "batchbald"])
def test_a_table_without_dropout_samples_names_the_key_to_set(name: str) -> None:
    with pytest.raises(NotReadyError, match=r"dropout samples.*\n.*scoring\.mc_samples.*query again"):
        create(name, QueryConfig()).select(request(pool([1.0, 2.0]), 1))


@pytest.mark.parametrize(
    "name", [n for n in STRATEGIES if {"grad_sq_norm", "grad_inner"} & set(create(n, QueryConfig()).columns)]
)
def test_samples_without_exact_gradients_come_after_those_with(name: str) -> None:
    """A prescreened table: probabilities and features of all, gradients of some."""
    strategy = create(name, QueryConfig())
    table = model_table(60)
    exact = np.arange(60) % 3 == 0
    for column in ("grad_sq_norm", "grad_inner", "sketch"):
        table.columns[column][~exact] = math.nan
    assert set(rows_of(table, strategy.select(request(table, 15)).digests)) <= set(np.flatnonzero(exact))
    assert set(rows_of(table, strategy.select(request(table, 30)).digests)) > set(np.flatnonzero(exact))
    assert set(rows_of(table, strategy.select(request(table, 15, memory_limit=1)).digests)) <= set(
        np.flatnonzero(exact)
    )


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
    assert caught.value.remedy == f"choose one of: {', '.join(STRATEGIES)}"
    with pytest.raises(BadInputError, match=r"query\.cold_start: unknown strategy 'zzz'\n"):
        create("zzz", QueryConfig(), key="query.cold_start")
