"""Top-b selection: exactly the best, in a defined order, whatever way the pool arrives."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pools import ArrayTable, ids, pool, random_digests, request

from dalcli.data.identity import tie_keys
from dalcli.errors import NotReadyError
from dalcli.strategies import selection as selection_module
from dalcli.strategies.base import Request, Selection
from dalcli.strategies.dynamical import Dynamical
from dalcli.strategies.selection import TopValues

BY_VALUE = TopValues(Dynamical(math.inf))
LEGAL = st.sampled_from([0.0, -0.0, 1.0, 1.5, -2.0, math.inf, -math.inf, math.nan])


def brute_force(table: ArrayTable, asked: Request) -> tuple[list[str], int]:
    """Sort all eligible rows in plain Python."""
    keys = dict(zip(ids(table.digests), tie_keys(asked.seed, table.digests).tolist(), strict=True))
    allowed = set(ids(asked.eligible.digests))
    values = dict(zip(ids(table.digests), table.columns["grad_inner"].tolist(), strict=True))
    order = sorted(allowed, key=lambda s: (math.isnan(values[s]), -values[s] if values[s] == values[s] else 0, keys[s]))
    return order[: asked.budget], sum(math.isnan(values[s]) for s in allowed)


@given(st.lists(LEGAL, max_size=60), st.integers(1, 70), st.data())
def test_matches_a_brute_force_sort_in_any_order_and_blocking(
    values: list[float], budget: int, data: st.DataObject
) -> None:
    cuts = st.lists(st.integers(0, len(values)), max_size=6)
    table = pool(values, cuts=data.draw(cuts))
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values))), bool)
    asked = request(table, budget, table.digests[mask])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection_module, "_CHUNK", data.draw(st.sampled_from([1, 3, 8192])))
        chosen = BY_VALUE.select(asked)
        again = table.shuffled(np.random.default_rng(data.draw(st.integers(0, 9))), data.draw(cuts))
        shuffled = BY_VALUE.select(request(again, budget, table.digests[mask]))
    expected, undefined = brute_force(table, asked)
    assert ids(chosen.digests) == ids(shuffled.digests) == expected
    assert chosen.non_finite == shuffled.non_finite == undefined
    assert chosen.values is not None
    lookup = dict(zip(ids(table.digests), table.columns["grad_inner"], strict=True))
    np.testing.assert_array_equal(chosen.values, [lookup[sample] for sample in expected])


@pytest.mark.parametrize("shape", ["random", "ascending", "descending", "equal", "few", "nan", "mostly nan"])
def test_matches_a_full_sort_on_many_rows(shape: str) -> None:
    rng = np.random.default_rng(3)
    values = {
        "random": rng.standard_normal(40_000),
        "ascending": np.arange(40_000.0),
        "descending": -np.arange(40_000.0),
        "equal": np.zeros(40_000),
        "few": rng.integers(0, 4, 40_000).astype(float),
        "nan": np.full(40_000, np.nan),
        "mostly nan": np.where(np.arange(40_000) % 1000 == 0, 1.0, np.nan),
    }[shape]
    table = pool(values, cuts=range(0, 40_000, 1000))
    asked = request(table, 250, table.digests[rng.random(40_000) < 0.7])
    chosen = BY_VALUE.select(asked)
    expected, undefined = brute_force(table, asked)
    assert ids(chosen.digests) == expected
    assert chosen.non_finite == undefined


def test_ties_break_by_seed_and_not_by_order() -> None:
    table = pool(np.zeros(1000))
    first, same, other = (ids(BY_VALUE.select(request(table, 100, seed=seed)).digests) for seed in (1, 1, 2))
    assert first == same
    assert len(set(first) & set(other)) < 30  # 10 expected


def test_samples_whose_tie_keys_collide_are_still_ordered_and_kept_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Request, "keys", lambda self, digests: np.zeros(len(digests), np.uint64))
    table = pool(np.zeros(50))
    chosen = ids(BY_VALUE.select(request(table, 20)).digests)
    assert chosen == sorted(ids(table.digests))[:20]
    assert ids(BY_VALUE.select(request(table.shuffled(np.random.default_rng(0), [9, 30]), 20)).digests) == chosen


def test_a_sample_that_the_table_lists_twice_is_chosen_once() -> None:
    digests = random_digests(6)
    twice = ArrayTable(np.concatenate([digests, digests]), {"grad_inner": np.arange(12.0)}, cuts=[5])
    chosen = BY_VALUE.select(request(twice, 6))
    assert ids(chosen.digests) == ids(digests[::-1])
    np.testing.assert_array_equal(chosen.values, [11, 10, 9, 8, 7, 6])


def test_a_budget_beyond_the_pool_returns_the_whole_pool() -> None:
    table = pool([3.0, 1.0, 2.0])
    chosen = BY_VALUE.select(request(table, 10**12))
    assert ids(chosen.digests) == ids(table.digests[[0, 2, 1]])


def test_nothing_eligible_gives_an_empty_selection() -> None:
    chosen = BY_VALUE.select(request(pool([1.0, math.nan]), 5, np.empty((0, 16), np.uint8)))
    assert chosen.digests.shape == (0, 16)
    assert chosen.non_finite == 0


def test_undefined_values_of_ineligible_samples_are_not_counted() -> None:
    table = pool([math.nan, 1.0, math.nan])
    assert BY_VALUE.select(request(table, 1, table.digests[:2])).non_finite == 1


def test_too_few_scored_samples_name_the_command_to_run() -> None:
    table = pool([1.0, 2.0])
    with pytest.raises(NotReadyError, match=r"3 of 5 .*\n.*dalcli score"):
        BY_VALUE.select(request(table, 4, np.concatenate([table.digests, random_digests(3, seed=9)])))


def test_a_cold_start_by_scores_names_the_way_out() -> None:
    with pytest.raises(NotReadyError, match=r"no trained model.*\n.*random.*dalcli train"):
        BY_VALUE.select(request(None, 4, random_digests(3)))


def test_single_precision_values_are_compared_as_they_are() -> None:
    table = pool([0.0, 0.0])
    table.columns["grad_inner"] = np.array([0.1, 0.2], np.float32)
    chosen: Selection = BY_VALUE.select(request(table, 2))
    assert chosen.values is not None
    assert chosen.values.dtype == np.float64
    np.testing.assert_array_equal(chosen.values, table.columns["grad_inner"][::-1].astype(np.float64))


def test_a_score_of_the_wrong_shape_is_refused() -> None:
    table = pool([0.0, 0.0])
    table.columns["grad_inner"] = np.zeros((2, 2))
    with pytest.raises(ValueError, match=r"\(2, 2\)"):
        BY_VALUE.select(request(table, 2))
