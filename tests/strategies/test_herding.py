"""Uncertainty herding against plain greedy over everything in float64, and what a sample of the pool estimates."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from pools import ArrayTable, ids, model_table, request, rows_of, softmax
from scipy.spatial.distance import cdist
from tasks import clustered, plain

from dalcli.scores.samples import SampleSet
from dalcli.strategies.coverage import Coverage, OwnWeights
from dalcli.strategies.margin import Margin
from dalcli.strategies.selection import TopValues
from dalcli.strategies.uncertainty_herding import UncertaintyHerding


def unit(features: np.ndarray) -> np.ndarray:
    x = features.astype(np.float64)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-300)  # zeros stay zeros


def one_minus_margin(probabilities: np.ndarray) -> np.ndarray:
    ordered = np.sort(probabilities.astype(np.float64), axis=1)
    return 1 - (ordered[:, -1] - ordered[:, -2])


def assert_greedy(gain_of: object, picked: list[int], count: int) -> None:
    """Every pick has the largest gain there is, of all rows that are not picked."""
    for step, row in enumerate(picked):
        gains = gain_of(picked[:step])  # type: ignore[operator]
        gains[picked[:step]] = -1
        assert gains[row] >= gains.max() * (1 - 1e-4), step
    assert len(set(picked)) == count


def plain_gains(kernel: np.ndarray, weights: np.ndarray, covered: np.ndarray, chosen: list[int]) -> np.ndarray:
    """Σ_x w(x) · (max over chosen and one more − max over chosen), for every row of ``kernel`` (n, x)."""
    now = np.maximum(covered, kernel[chosen].max(axis=0, initial=0.0))
    return (np.maximum(kernel, now) * weights).sum(axis=1) - (now * weights).sum()


@pytest.mark.parametrize(("labeled", "in_flight"), [(0, 0), (1, 0), (0, 2), (12, 0), (10, 7)])
@pytest.mark.parametrize("seed", range(3))
def test_the_batch_is_that_of_plain_greedy(labeled: int, in_flight: int, seed: int) -> None:
    table = model_table(120, seed=seed, cuts=[40, 41, 99])
    known = labeled + in_flight
    sets = SampleSet(table.digests[:labeled]), SampleSet(table.digests[labeled:known])
    selection = UncertaintyHerding().select(request(table, 15, table.digests[known:], seed, *sets))
    x, u = unit(table.columns["features"]), one_minus_margin(table.columns["probabilities"])
    pool = slice(known, None)
    if known >= 2:
        gaps = cdist(x[:known], x[:known])
        np.fill_diagonal(gaps, np.inf)
        width = np.median(gaps.min(axis=1))
    else:
        width = np.sqrt(np.median(cdist(x[pool], x[pool], "sqeuclidean")[np.triu_indices(120 - known, 1)])) / 2
    kernel = np.exp(-cdist(x, x, "sqeuclidean") / width**2)
    covered = kernel[:known, pool].max(axis=0, initial=0.0)
    picked = [row - known for row in rows_of(table, selection.digests)]
    assert_greedy(lambda chosen: plain_gains(kernel[pool, pool], u[pool], covered, chosen), picked, 15)
    np.testing.assert_allclose(selection.values, u[pool][picked], atol=1e-6)
    assert selection.notes == ()


def test_labels_that_coincide_leave_the_width_to_the_pool() -> None:
    table = model_table(60)
    apart = [request(table, 10, table.digests[2:], labeled=SampleSet(table.digests[:k])) for k in (1, 2)]
    for column in table.columns:
        table.columns[column][1] = table.columns[column][0]
    first, second = (ids(UncertaintyHerding().select(asked).digests) for asked in apart)
    assert first == second


def test_a_far_label_and_a_near_one_decide_alike_where_the_pool_lies() -> None:
    """The width is the median over labels of the nearest other: two pairs far apart are as wide as each pair."""
    angles = np.radians([0, 4, 180, 184, *range(60, 121, 3)])
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    table = model_table(len(angles), width=2)
    table.columns["features"] = features
    table.columns["probabilities"][:] = [0.25, 0.25, 0.25, 0.25]
    asked = request(table, 3, table.digests[4:], labeled=SampleSet(table.digests[:4]))
    picked = rows_of(table, UncertaintyHerding().select(asked).digests)
    kernel = np.exp(-cdist(features, features, "sqeuclidean") / (2 * math.sin(math.radians(2))) ** 2)
    covered = kernel[:4, 4:].max(axis=0)
    gains = plain_gains(kernel[4:, 4:].astype(np.float64), np.ones(21), covered, [])
    assert gains[picked[0] - 4] == pytest.approx(gains.max(), rel=1e-4)


def test_of_many_labels_a_part_measures_the_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its nearest others are looked for among all: labels in pairs are a pair's gap apart, whoever is asked."""
    from dalcli.strategies import gather, uncertainty_herding

    x = np.repeat(clustered(40, width=5), 2, axis=0)
    x[1::2] += [0.1, 0, 0, 0, 0]
    table = model_table(100)
    table.columns["features"][:80] = x
    asked = request(table, 3, table.digests[80:], labeled=SampleSet(table.digests[:80]))
    whole = uncertainty_herding.sq_width(asked)
    monkeypatch.setattr(uncertainty_herding, "_MEASURED", 9)
    monkeypatch.setattr(gather, "_CHUNK_BYTES", 5 * 4 * 25)
    assert 0.5 * whole < uncertainty_herding.sq_width(asked) < 2 * whole


def sampled(table: ArrayTable, budget: int, seed: int, known: int = 0) -> tuple[list[int], tuple[str, ...]]:
    strategy = UncertaintyHerding(exact=50, representatives=60, candidates=120)
    labeled = SampleSet(table.digests[:known])
    selection = strategy.select(request(table, budget, table.digests[known:], seed, labeled))
    return rows_of(table, selection.digests), selection.notes


def test_a_sample_is_told_and_comes_close() -> None:
    rng = np.random.default_rng(0)
    table = model_table(400, seed=1)
    table.columns["features"] = clustered(400, width=5, clusters=15, seed=1).astype(np.float32)
    table.columns["probabilities"] = softmax(rng.standard_normal((400, 4)) * 4)
    x, u = unit(table.columns["features"]), one_minus_margin(table.columns["probabilities"])
    gaps = cdist(x[:30], x[:30]) + 9 * np.eye(30)
    kernel = np.exp(-cdist(x, x[30:], "sqeuclidean") / np.median(gaps.min(axis=1)) ** 2)

    def worth(rows: list[int]) -> float:
        return float(np.maximum(kernel[:30].max(axis=0), kernel[rows].max(axis=0)) @ u[30:])

    asked = request(table, 15, table.digests[30:], labeled=SampleSet(table.digests[:30]))
    nothing, best = worth([0]), worth(rows_of(table, UncertaintyHerding().select(asked).digests))
    for seed in range(4):
        rows, notes = sampled(table, 15, seed, known=30)
        assert worth(rows) - nothing > 0.85 * (best - nothing)
        assert re.fullmatch(
            "60 of 370 samples, drawn by .* the 60 most uncertain .*what this strategy compares", *notes
        )


def test_a_narrow_kernel_takes_the_closest_calls_whatever_the_sample() -> None:
    """Orthogonal features; labels in pairs a hair apart: nobody represents anybody else."""
    table = model_table(300)
    x = np.zeros((300, 300), np.float32)
    x[np.arange(20), 280 + np.arange(20) // 2] = 1.0
    x[1:20:2, 299] = 1e-2
    x[20:, :280] = np.eye(280)
    table.columns["features"] = x
    margins = rows_of(table, TopValues(Margin()).select(request(table, 25, table.digests[20:])).digests)
    for seed in range(3):
        assert set(sampled(table, 25, seed, known=20)[0]) == set(margins)


def test_weights_of_the_sample_estimate_sums_over_the_pool() -> None:
    table = model_table(300, seed=2)
    table.columns["probabilities"] = softmax(np.random.default_rng(2).standard_normal((300, 4)) * 6)
    u = one_minus_margin(table.columns["probabilities"])
    some = np.random.default_rng(3).random(300)
    strategy = UncertaintyHerding(exact=10, representatives=40, candidates=80)
    estimates = []
    for seed in range(400):
        compared = strategy._compared(request(table, 5, seed=seed))
        estimates.append(compared.weights @ some[rows_of(table, compared.digests)])
        assert np.count_nonzero(compared.weights) == 40
    error = np.std(estimates) / math.sqrt(400)
    assert abs(np.mean(estimates) - u @ some) < 4 * error
    assert error * 20 < 0.2 * (u @ some)  # and one sample alone is not far off


@pytest.mark.parametrize("known", [0, 3])
@pytest.mark.parametrize("seed", range(3))
def test_what_candidates_weigh_themselves_counts_once(seed: int, known: int) -> None:
    """A sampled pool: everyone else by the sample's weight, oneself by one's own."""
    rng = np.random.default_rng(seed)
    x, others = clustered(50, seed=seed), clustered(known, seed=seed + 50)
    inside, weights, own = rng.permutation(50)[:20], rng.random(20) * 5, rng.random(50)
    places = np.full(50, -1)
    places[inside] = np.arange(20)
    pieces = [plain(others)] if known else []
    coverage = Coverage(plain(x), plain(x[inside]), 40.0, iter(pieces), weights, OwnWeights(own, places))
    kernel = np.exp(-cdist(x, x, "sqeuclidean") / 40.0)
    covered = np.exp(-cdist(others, x, "sqeuclidean") / 40.0).max(axis=0, initial=0.0)

    def gains(chosen: list[int]) -> np.ndarray:
        now = np.maximum(covered, kernel[chosen].max(axis=0, initial=0.0))
        total = np.zeros(50)
        for c in range(50):
            for k, row in enumerate(inside):
                if row != c:
                    total[c] += weights[k] * max(kernel[c, row] - now[row], 0)
            total[c] += own[c] * (1 - now[c])
        return total

    assert_greedy(gains, coverage.pick(30).tolist(), 30)


def test_equal_weights_are_max_herding() -> None:
    x = clustered(80, seed=4)
    weighed = Coverage(plain(x), plain(x), 50.0, iter([]), np.ones(80)).pick(20)
    assert weighed.tolist() == Coverage(plain(x), plain(x), 50.0, iter([])).pick(20).tolist()


def test_many_equals_in_front_are_all_looked_at() -> None:
    """Copies have equal gains, which all change with the first pick."""
    x = np.concatenate([np.repeat(np.eye(3), 30, axis=0), [[5.0, 5.0, 5.0]]])
    picked = Coverage(plain(x), plain(x), 1.0, iter([])).pick(10).tolist()
    assert sorted(row // 30 for row in picked) == [0, 1, 2, 3]
    assert picked[:3] == [0, 30, 60]
