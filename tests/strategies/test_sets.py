"""Composed strategies from the table to the batch: candidates, spaces, what is known, memory."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pools import ArrayTable, ids, keyed_rows, model_table, random_digests, request, rows_of
from scipy.spatial.distance import cdist
from test_points import gradients

from dalcli.config.querying import QueryConfig
from dalcli.scores.samples import SampleSet
from dalcli.strategies import gather as gathering
from dalcli.strategies.badge import badge
from dalcli.strategies.bait import bait
from dalcli.strategies.base import Request
from dalcli.strategies.coreset import coreset
from dalcli.strategies.diverse import Diverse, Shortlist
from dalcli.strategies.diverse_dynamical import diverse_dynamical
from dalcli.strategies.diverse_margin import diverse_margin
from dalcli.strategies.dynamical import Dynamical
from dalcli.strategies.gather import chunks, gather, keyed_order, row_bytes
from dalcli.strategies.kcenter import KCenterGreedy
from dalcli.strategies.margin import Margin
from dalcli.strategies.selection import TopValues
from dalcli.strategies.spaces import Features


def split(table: ArrayTable, labeled: int, in_flight: int) -> tuple[np.ndarray, SampleSet, SampleSet]:
    """The first rows labeled, the next in flight, the others eligible."""
    known = labeled + in_flight
    return table.digests[known:], SampleSet(table.digests[:labeled]), SampleSet(table.digests[labeled:known])


@pytest.mark.parametrize(("labeled", "in_flight"), [(0, 0), (12, 0), (0, 7), (12, 7)])
def test_coreset_covers_the_pool_from_what_is_labeled_and_in_flight(labeled: int, in_flight: int) -> None:
    table = model_table(150, cuts=[40, 41, 99])
    asked = request(table, 20, *_named(split(table, labeled, in_flight)))
    x = table.columns["features"].astype(np.float64)
    centres = list(range(labeled + in_flight)) or keyed_rows(table, asked)[:1]
    expected = [] if labeled + in_flight else list(centres)
    while len(expected) < 20:
        gaps = cdist(x, x[centres]).min(axis=1)
        gaps[: labeled + in_flight] = -1
        expected.append(int(gaps.argmax()))
        centres.append(expected[-1])
    assert rows_of(table, coreset().select(asked).digests) == expected


def _named(parts: tuple[np.ndarray, SampleSet, SampleSet]) -> tuple[np.ndarray, int, SampleSet, SampleSet]:
    eligible, labeled, in_flight = parts
    return eligible, 1, labeled, in_flight


def test_badge_starts_with_the_longest_gradient_and_never_takes_a_copy_of_a_pick() -> None:
    table = model_table(40)
    copies = ArrayTable(
        random_digests(80, seed=5), {name: np.repeat(array, 2, axis=0) for name, array in table.columns.items()}
    )
    chosen = rows_of(copies, badge().select(request(copies, 40)).digests)
    explicit = gradients(table.columns["probabilities"], table.columns["features"])
    assert chosen[0] // 2 == (explicit**2).sum(axis=1).argmax()
    assert sorted(row // 2 for row in chosen) == list(range(40))


def test_badge_leaves_alone_what_resembles_samples_in_flight() -> None:
    table = model_table(60)
    for name in table.columns:
        table.columns[name][30:] = table.columns[name][:30]
    eligible, in_flight = np.delete(table.digests, slice(0, 20), axis=0), SampleSet(table.digests[:20])
    chosen = rows_of(table, badge().select(request(table, 10, eligible, in_flight=in_flight)).digests)
    assert sorted(row % 30 for row in chosen) == list(range(20, 30))


@pytest.mark.parametrize("labeled", [0, 15])
def test_bait_takes_the_greedy_steps_of_its_trace(labeled: int) -> None:
    table = model_table(80, width=4, seed=2)
    asked = request(table, 12, *_named(split(table, labeled, 0)))
    p = table.columns["probabilities"].astype(np.float64)
    x = table.columns["features"] * np.sqrt(1 - (p**2).sum(axis=1, keepdims=True))
    wanted = x.T @ x / len(x)
    ridge = np.trace(wanted) / 4 * np.eye(4)

    def trace(rows: list[int]) -> float:
        return float(np.trace(np.linalg.inv(ridge + x[rows].T @ x[rows]) @ wanted))

    chosen = rows_of(table, bait().select(asked).digests)
    known = list(range(labeled))
    for step in range(12):
        so_far = known + chosen[:step]
        best = min(trace([*so_far, row]) for row in range(labeled, 80) if row not in so_far)
        assert trace(known + chosen[: step + 1]) == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize(("labeled", "in_flight"), [(0, 0), (12, 0), (10, 7)])
def test_diverse_margin_takes_the_farthest_of_the_largest_cluster_among_close_calls(
    labeled: int, in_flight: int
) -> None:
    table = model_table(150, seed=3, cuts=[40, 41, 99])
    asked = request(table, 8, *_named(split(table, labeled, in_flight)))
    ordered = np.sort(table.columns["probabilities"].astype(np.float64), axis=1)
    margins = ordered[:, -1] - ordered[:, -2]
    first = labeled + in_flight
    close = first + np.argsort(margins[first:])[:40]
    x = gradients(table.columns["probabilities"], table.columns["features"])
    centres, expected = list(range(first)), []
    while len(expected) < 8:
        if not centres:
            row = int(close[(x[close] ** 2).sum(axis=1).argmax()])
        else:
            gaps = cdist(x[close], x[centres], "sqeuclidean")
            owner, gap = gaps.argmin(axis=1), gaps.min(axis=1)
            largest = np.argmax(np.bincount(owner, weights=gap))
            row = int(close[np.where(owner == largest, gap, -1).argmax()])
        expected.append(row)
        centres.append(row)
    selection = diverse_margin().select(asked)
    assert rows_of(table, selection.digests) == expected
    np.testing.assert_allclose(selection.values, 1 - margins[expected], atol=1e-6)


def test_diverse_margin_gives_a_whole_batch_where_all_gradients_are_equal() -> None:
    table = model_table(60, classes=4)
    table.columns["features"][:] = 0
    table.columns["probabilities"][:] = [0.4, 0.3, 0.2, 0.1]
    assert len(set(ids(diverse_margin().select(request(table, 20)).digests))) == 20


def test_diverse_dynamical_draws_first_by_delta_from_the_best_tenths() -> None:
    table = model_table(60, seed=4)
    delta = table.columns["grad_sq_norm"] + 2 * table.columns["grad_inner"]
    best = np.argsort(-delta)[:10]
    counts = np.zeros(60)
    for seed in range(600):
        counts[rows_of(table, diverse_dynamical(2.0).select(request(table, 1, seed=seed)).digests)] += 1
    assert set(np.flatnonzero(counts)) <= set(best.tolist())
    share = np.maximum(delta, 0)[best] / np.maximum(delta, 0)[best].sum()
    np.testing.assert_allclose(counts[best] / 600, share, atol=0.08)


def test_diverse_dynamical_reports_delta_and_takes_no_copies() -> None:
    table = model_table(100)
    table.columns["grad_inner"] += 5
    for name in table.columns:
        table.columns[name][50:] = table.columns[name][:50]
    selection = diverse_dynamical(2.0).select(request(table, 50))
    rows = rows_of(table, selection.digests)
    delta = table.columns["grad_sq_norm"] + 2 * table.columns["grad_inner"]
    np.testing.assert_array_equal(selection.values, delta[rows])
    assert sorted(row % 50 for row in rows) == list(range(50))


def test_a_shortlist_bounds_the_candidates() -> None:
    table = model_table(200, seed=6)
    strategy = Diverse(Features(), KCenterGreedy(), shortlist=Shortlist(TopValues(Margin()), 3.0))
    asked = request(table, 10)
    chosen = strategy.select(asked)
    best = TopValues(Margin()).select(request(table, 30))
    assert set(ids(chosen.digests)) <= set(ids(best.digests))
    assert strategy.columns == ("probabilities", "features")
    assert chosen.notes == ()
    with pytest.raises(ValueError, match=r"0\.5 times"):
        Shortlist(TopValues(Margin()), 0.5)


def test_candidates_beyond_the_memory_limit_are_left_out_and_it_is_said() -> None:
    table = model_table(200, width=8)
    strategy = Diverse(Features(), KCenterGreedy())
    selection = strategy.select(request(table, 5, memory_limit=8 * 4 * 50))
    considered = keyed_rows(table, request(table, 5))[:50]
    assert set(rows_of(table, selection.digests)) <= set(considered)
    assert selection.notes == ("a random 50 of 200 candidates were considered: more exceed query.memory_limit",)
    shortlisted = Diverse(Features(), KCenterGreedy(), shortlist=Shortlist(TopValues(Margin()), 20.0))
    selection = shortlisted.select(request(table, 5, memory_limit=8 * 4 * 50))
    assert set(ids(selection.digests)) <= set(ids(TopValues(Margin()).select(request(table, 50)).digests))
    assert selection.notes == ("the best 50 of 100 candidates were considered: more exceed query.memory_limit",)
    capped = Diverse(Features(), KCenterGreedy(), most=7).select(request(table, 5))
    assert capped.notes == ("a random 7 of 200 candidates were considered: more exceed what this strategy compares",)


def test_what_nothing_tells_apart_is_filled_up_by_score_and_without_numbers_last() -> None:
    table = model_table(30)
    table.columns["features"][:] = 1.0
    table.columns["features"][[3, 4]] = math.nan
    table.columns["grad_sq_norm"][[5, 6]] = math.nan
    strategy = Diverse(Features(), KCenterGreedy(), acquisition=Dynamical(0.0))
    selection = strategy.select(request(table, 30))
    rows = rows_of(table, selection.digests)
    value = table.columns["grad_sq_norm"]
    plain = [row for row in np.argsort(-value).tolist() if row not in {3, 4, 5, 6, rows[0]}]
    assert rows[1:26] == plain
    assert set(rows[26:28]) == {5, 6}
    assert set(rows[28:]) == {3, 4}
    assert selection.non_finite == 4


@pytest.mark.parametrize("looked_up", [False, True])
def test_rows_are_gathered_in_keyed_order(monkeypatch: pytest.MonkeyPatch, looked_up: bool) -> None:
    monkeypatch.setattr(gathering, "_LOOKUP_SHARE", 0 if looked_up else 10**9)
    table = model_table(50, cuts=[13, 30])
    table.columns["sketch"] = table.columns["sketch"].astype(np.float16)
    asked = request(table, 5, table.digests[::2])
    ordered = keyed_order(asked, asked.eligible)
    rows = keyed_rows(table, asked)
    assert rows_of(table, ordered) == rows
    found = gather(asked, ordered, ("sketch", "grad_inner"))
    np.testing.assert_array_equal(found["sketch"], table.columns["sketch"][rows].astype(np.float32))
    np.testing.assert_array_equal(found["grad_inner"], table.columns["grad_inner"][rows])
    assert found["sketch"].dtype == np.float32
    assert row_bytes(asked, ("sketch", "grad_inner", "sketch")) == 6 * 4 + 8


def test_known_samples_come_in_pieces_and_unscored_ones_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "_CHUNK_BYTES", 5 * 4 * 10)
    table = model_table(60)
    known = SampleSet(np.concatenate([table.digests[:25], random_digests(3, seed=77)]))
    asked = request(table, 5, table.digests[25:], labeled=known)
    pieces = list(chunks(asked, known, ("features",)))
    assert [len(piece["features"]) for piece in pieces] == [10, 10, 5]
    together = np.concatenate([piece["features"] for piece in pieces])
    np.testing.assert_array_equal(np.unique(together, axis=0), np.unique(table.columns["features"][:25], axis=0))
    assert list(chunks(asked, SampleSet.EMPTY, ("features",))) == []
    assert list(chunks(asked, SampleSet(random_digests(3, seed=77)), ("features",))) == []


def test_an_empty_pool_gives_an_empty_batch() -> None:
    table = model_table(5)
    asked = Request(3, SampleSet.EMPTY, seed=1, table=table)
    for strategy in (coreset(), badge(), diverse_dynamical(2.0)):
        assert strategy.select(asked).digests.shape == (0, 16)


def test_known_is_labeled_and_in_flight() -> None:
    digests = random_digests(6)
    asked = Request(1, SampleSet(digests[4:]), 1, None, SampleSet(digests[:3]), SampleSet(digests[2:4]))
    assert ids(asked.known.digests) == sorted(ids(digests[:4]))
    assert QueryConfig().memory_limit == asked.memory_limit
