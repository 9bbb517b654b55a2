"""Strategies that cluster, against scikit-learn and plain loops."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from pools import model_table, request, rows_of
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import NearestNeighbors
from tasks import clustered, plain, task

from dalcli.strategies import clustering, points, typiclust
from dalcli.strategies.cluster_margin import ClusterTurns, cluster_margin, turns
from dalcli.strategies.clustering import ITERATIONS, assign, k_means
from dalcli.strategies.kmeanspp import KMeansPlusPlus
from dalcli.strategies.typiclust import TypicalOfClusters


@pytest.mark.parametrize("block", [7, 4096])
@pytest.mark.parametrize("seed", range(4))
def test_k_means_is_scikit_learns_from_the_same_seeds(monkeypatch: pytest.MonkeyPatch, seed: int, block: int) -> None:
    monkeypatch.setattr(points, "BLOCK", block)
    x = clustered(200, width=4, seed=seed)
    labels, centres = k_means(plain(x), 12, np.random.default_rng(seed))
    seeds = KMeansPlusPlus().pick(task(x, 12, seed=seed))
    reference = KMeans(12, init=x[seeds].astype(np.float32), n_init=1, max_iter=ITERATIONS, algorithm="lloyd", tol=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        reference.fit(x.astype(np.float32))
    np.testing.assert_array_equal(labels, reference.labels_)
    np.testing.assert_allclose(centres.factors[0], reference.cluster_centers_, rtol=1e-4, atol=1e-4)


def test_k_means_of_many_points_learns_from_the_first_and_assigns_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clustering, "_PER_CLUSTER", 20)
    x = clustered(300, seed=9)
    labels, centres = k_means(plain(x), 5, np.random.default_rng(0))
    first, expected = k_means(plain(x[:100]), 5, np.random.default_rng(0))
    np.testing.assert_array_equal(centres.factors[0], expected.factors[0])
    np.testing.assert_array_equal(labels[:100], first)
    np.testing.assert_array_equal(labels, cdist(x, centres.factors[0]).argmin(axis=1))


def test_k_means_of_few_distinct_points_has_fewer_clusters() -> None:
    labels, centres = k_means(plain(np.repeat(np.eye(3), 5, axis=0)), 10, np.random.default_rng(0))
    assert len(centres) == 3
    assert len(set(map(tuple, labels.reshape(3, 5).tolist()))) == 3


def test_turns_serve_small_clusters_first() -> None:
    labels = np.array([0, 0, 1, 2, 0, 2, 1, 0])  # sizes 4, 2, 2
    assert turns(labels).tolist() == [2, 3, 0, 6, 5, 1, 4, 7]


def test_cluster_margin_takes_the_smallest_margins_from_different_clusters() -> None:
    table = model_table(400, seed=3)
    table.columns["features"] = clustered(400, width=5, clusters=4, seed=3).astype(np.float32)
    asked = request(table, 8)
    chosen = rows_of(table, cluster_margin().select(asked).digests)
    two = np.sort(table.columns["probabilities"].astype(np.float64), axis=1)[:, -2:]
    shortlist = np.argsort(two[:, 1] - two[:, 0])[:80]
    assert set(chosen) <= set(shortlist.tolist())
    near = cdist(table.columns["features"][chosen], table.columns["features"][chosen]) + 1e9 * np.eye(8)
    random = np.random.default_rng(0)
    gaps = []
    for _ in range(200):
        rows = random.choice(shortlist, 8, replace=False)
        gaps.append((cdist(table.columns["features"][rows], table.columns["features"][rows]) + 1e9 * np.eye(8)).min())
    assert near.min() > np.median(gaps)


def test_cluster_turns_are_those_of_the_clusters() -> None:
    x = clustered(90, seed=5)
    labels, _ = k_means(plain(x), 9, np.random.default_rng(0))
    picked = ClusterTurns().pick(task(x, 9))
    sizes = np.bincount(labels)
    assert [labels[row] for row in picked[: len(sizes)]] == sorted(range(len(sizes)), key=lambda c: (sizes[c], c))
    assert all(row == np.flatnonzero(labels == labels[row])[0] for row in picked[: len(sizes)])


def typical(x: np.ndarray, labels: np.ndarray, served: np.ndarray, size: int) -> list[int]:
    """TypiClust in plain loops; typicality from scikit-learn's neighbours."""
    sizes, served, chosen = np.bincount(labels, minlength=len(served)), served.copy(), []
    while len(chosen) < size:
        left = [c for c in range(len(served)) if any(labels[r] == c and r not in chosen for r in range(len(x)))]
        cluster = min(left, key=lambda c: (sizes[c] < 5, served[c], -sizes[c], c))
        members = np.flatnonzero(labels == cluster)
        if len(members) > 1:
            count = min(20, len(members) - 1)
            distances, _ = NearestNeighbors(n_neighbors=count + 1).fit(x[members]).kneighbors(x[members])
            typicality = 1 / distances[:, 1:].mean(axis=1)
        else:
            typicality = np.ones(1)
        ranked = members[np.argsort(-typicality, kind="stable")]
        chosen.append(next(int(row) for row in ranked if row not in chosen))
        served[cluster] += 1
    return chosen


@pytest.mark.parametrize("known", [0, 6])
@pytest.mark.parametrize("size", [5, 40])
@pytest.mark.parametrize("seed", range(3))
def test_typiclust_matches_its_definition(monkeypatch: pytest.MonkeyPatch, seed: int, size: int, known: int) -> None:
    monkeypatch.setattr(typiclust, "_MOST_CLUSTERS", 20)
    x, known_points = clustered(120, seed=seed), clustered(known, seed=seed)
    picked = TypicalOfClusters().pick(task(x, size, [known_points] if known else ()))
    labels, centres = k_means(plain(x), min(20, size + known), np.random.default_rng(0))
    served = np.zeros(len(centres), int)
    for centre in assign(plain(known_points), centres) if known else []:
        served[centre] += 1
    assert picked.tolist() == typical(x.astype(np.float32), labels, served, size)


def test_typicality_of_a_large_cluster_is_judged_by_a_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typiclust, "_MOST_COMPARED", 50)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 2))
    (first,) = TypicalOfClusters().pick(task(x, 1))
    assert np.linalg.norm(x[first]) < 0.7  # the densest part: half of all are within 1.18
    far = cdist(x, x[:50])
    far[np.arange(50), np.arange(50)] = np.inf  # nobody is its own neighbour
    mean = np.sort(far, axis=1)[:, :20].mean(axis=1)
    ranked = typiclust._by_typicality(plain(x), np.ones(300, bool))
    assert np.all(np.diff(mean[ranked]) > -1e-5)


def test_low_budget_strategies_keep_away_from_what_is_in_flight() -> None:
    """Two groups; one is handed out already: the other one is next."""
    from dalcli.config.querying import QueryConfig
    from dalcli.scores.samples import SampleSet
    from dalcli.strategies.registry import create

    x = np.concatenate(
        [np.random.default_rng(0).normal(5, 0.1, (30, 5)), -np.random.default_rng(1).normal(5, 0.1, (30, 5))]
    )
    table = model_table(60)
    table.columns["features"] = x.astype(np.float32)
    table.columns["sketch"] = x.astype(np.float32)
    for name in ("coreset", "typiclust", "maxherding", "lcmd"):
        for group in (slice(0, 30), slice(30, 60)):
            out = table.digests[group][:1]
            eligible = np.delete(table.digests, group.start, axis=0)
            asked = request(table, 1, eligible, in_flight=SampleSet(out))
            (row,) = rows_of(table, create(name, QueryConfig()).select(asked).digests)
            assert not group.start <= row < group.stop, name
