"""Ways to spread picks, against definitions that look at every pair of points at every step."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import cdist
from tasks import clustered, task

from dalcli.strategies import kcenter, kmeanspp
from dalcli.strategies.diverse import Picker
from dalcli.strategies.joint_dynamical import InteractionGreedy
from dalcli.strategies.kcenter import KCenterGreedy
from dalcli.strategies.kmeanspp import KMeansPlusPlus, positive_share
from dalcli.strategies.lcmd import LargestCluster
from dalcli.strategies.maxherding import GreedyCoverage

NONE = np.empty((0, 3))


def farthest_first(x: np.ndarray, known: np.ndarray, size: int) -> list[int]:
    """Gonzalez' algorithm, from the full distance matrix."""
    chosen = [] if len(known) else [0]
    while len(chosen) < size:
        gaps = cdist(x, np.concatenate([known, x[chosen]])).min(axis=1)
        chosen.append(int(gaps.argmax()))
    return chosen


@pytest.mark.parametrize("followed", [1, 2, 7, 256])
@pytest.mark.parametrize("known", [0, 5])
@pytest.mark.parametrize("seed", range(5))
def test_k_center_is_farthest_first_whatever_is_followed(
    monkeypatch: pytest.MonkeyPatch, seed: int, known: int, followed: int
) -> None:
    monkeypatch.setattr(kcenter, "_FOLLOWED", followed)
    x, known_points = clustered(150, seed=seed), clustered(known, seed=seed + 50)
    picked = KCenterGreedy().pick(task(x, 60, [known_points[:2], known_points[2:]] if known else ()))
    assert picked.tolist() == farthest_first(x, known_points, 60)


def test_k_center_stops_when_everything_is_covered() -> None:
    x = np.repeat(np.eye(3), 4, axis=0)
    picked = KCenterGreedy().pick(task(x, 10))
    assert sorted(row // 4 for row in picked) == [0, 1, 2]
    assert KCenterGreedy().pick(task(np.zeros((5, 2)), 3, [np.zeros((1, 2))])).tolist() == []


def pair_probabilities(x: np.ndarray, first: np.ndarray, floor: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """P(i first, then j) (n, n) of D² sampling with ``weights``; ``floor``: squared distances to what is known."""
    distances = np.minimum(cdist(x, x, "sqeuclidean"), floor[None, :])
    mass = distances * weights
    return first[:, None] * mass / mass.sum(axis=1, keepdims=True)


def drawn_pairs(picker: Picker, draws: int, **options: object) -> np.ndarray:
    x = options["matrix"]
    counts = np.zeros((len(x), len(x)))  # type: ignore[arg-type]
    for seed in range(draws):
        first, second = picker.pick(task(size=2, seed=seed, **options))  # type: ignore[arg-type]
        counts[first, second] += 1
    return counts


def assert_drawn_from(counts: np.ndarray, expected: np.ndarray) -> None:
    possible = expected > 0
    assert not counts[~possible].any()
    assert stats.chisquare(counts[possible], expected[possible] * counts.sum()).pvalue > 1e-3


def test_k_means_plus_plus_draws_in_proportion_to_squared_distance() -> None:
    x = np.random.default_rng(0).standard_normal((6, 2))
    first = np.zeros(6)
    first[(x**2).sum(axis=1).argmax()] = 1.0
    counts = drawn_pairs(KMeansPlusPlus(), 2000, matrix=x)
    assert_drawn_from(counts, pair_probabilities(x, first, np.full(6, np.inf), np.ones(6)))


def test_k_means_plus_plus_starts_from_what_is_known() -> None:
    rng = np.random.default_rng(1)
    x, known = rng.standard_normal((6, 2)), rng.standard_normal((3, 2))
    floor = cdist(x, known, "sqeuclidean").min(axis=1)
    counts = drawn_pairs(KMeansPlusPlus(), 3000, matrix=x, known=[known])
    assert_drawn_from(counts, pair_probabilities(x, floor / floor.sum(), floor, np.ones(6)))


def test_scores_weigh_draws_and_samples_without_value_are_not_drawn() -> None:
    x = np.random.default_rng(2).standard_normal((6, 2))
    values = np.array([0.5, 3.0, -1.0, 1.0, 2.0, 0.0])
    weights = np.maximum(values, 0) ** 2
    first = np.eye(6)[1]
    counts = drawn_pairs(KMeansPlusPlus(power=2.0), 2000, matrix=x, values=values)
    assert_drawn_from(counts, pair_probabilities(x, first, np.full(6, np.inf), weights))


def test_relative_distances_draw_the_first_by_score_alone() -> None:
    x = np.random.default_rng(3).standard_normal((6, 2))
    values = np.array([0.5, 3.0, -1.0, 1.0, 2.0, 0.2])
    weights = np.maximum(values, 0)
    lengths = (x**2).sum(axis=1)
    counts = drawn_pairs(KMeansPlusPlus(power=1.0, relative=True), 3000, matrix=x, values=values)
    assert_drawn_from(counts, pair_probabilities(x, weights / weights.sum(), lengths, weights / lengths))


@pytest.mark.parametrize("proposals", [1, 3, 64])
def test_proposals_at_once_do_not_change_the_distribution(monkeypatch: pytest.MonkeyPatch, proposals: int) -> None:
    """Sets of four out of seven, against the sum over all orders of drawing them."""
    monkeypatch.setattr(kmeanspp, "_PROPOSALS", proposals)
    x = np.random.default_rng(4).standard_normal((7, 2))
    known = np.zeros((1, 2))
    expected: dict[tuple[int, ...], float] = {}
    for order in itertools.permutations(range(7), 4):
        chance, gaps = 1.0, cdist(x, known, "sqeuclidean")[:, 0]
        for row in order:
            chance *= gaps[row] / gaps.sum()
            gaps = np.minimum(gaps, ((x - x[row]) ** 2).sum(axis=1))
        key = tuple(sorted(order))
        expected[key] = expected.get(key, 0.0) + chance
    counts = dict.fromkeys(expected, 0)
    for seed in range(1500):
        counts[tuple(sorted(KMeansPlusPlus().pick(task(x, 4, [known], seed=seed)).tolist()))] += 1
    rare = [key for key, chance in expected.items() if chance * 1500 < 5]
    common = [key for key in expected if key not in rare]
    observed = [*(counts[key] for key in common), sum(counts[key] for key in rare)]
    wanted = [*(expected[key] * 1500 for key in common), sum(expected[key] * 1500 for key in rare)]
    assert stats.chisquare(observed, wanted).pvalue > 1e-3


def test_draws_never_repeat_and_stop_when_nothing_is_left() -> None:
    x = np.repeat(clustered(20), 3, axis=0)
    picked = KMeansPlusPlus().pick(task(x, 60))
    assert sorted(row // 3 for row in picked.tolist()) == list(range(20))
    assert len(KMeansPlusPlus(relative=True).pick(task(np.zeros((9, 2)), 5))) == 0
    assert len(KMeansPlusPlus(power=1.0).pick(task(np.eye(3), 3, values=np.array([-1.0, 0.0, -2.0])))) == 0


def test_shares_of_infinite_and_absent_values() -> None:
    np.testing.assert_array_equal(positive_share(np.array([np.inf, 2.0, 1.0, -np.inf, -3.0])), [1, 1, 0.5, 0, 0])
    np.testing.assert_array_equal(positive_share(np.array([np.inf, -1.0])), [1, 0])
    np.testing.assert_array_equal(positive_share(np.array([-2.0, 0.0])), [0, 0])


def largest_cluster(x: np.ndarray, known: np.ndarray, size: int) -> list[int]:
    """LCMD-TP, from the full distance matrix."""
    chosen = [] if len(known) else [int((x**2).sum(axis=1).argmax())]
    while len(chosen) < size:
        distances = cdist(x, np.concatenate([known, x[chosen]]), "sqeuclidean")
        owner, gap = distances.argmin(axis=1), distances.min(axis=1)
        sums = [gap[owner == centre].sum() for centre in range(distances.shape[1])]
        members = np.flatnonzero(owner == int(np.argmax(sums)))
        chosen.append(int(members[gap[members].argmax()]))
    return chosen


@pytest.mark.parametrize("known", [0, 4])
@pytest.mark.parametrize("seed", range(5))
def test_lcmd_matches_its_definition(seed: int, known: int) -> None:
    x, known_points = clustered(80, seed=seed), clustered(known, seed=seed + 50)
    picked = LargestCluster().pick(task(x, 30, [known_points] if known else ()))
    assert picked.tolist() == largest_cluster(x, known_points, 30)


@pytest.mark.parametrize("known", [0, 3])
@pytest.mark.parametrize("seed", range(5))
def test_max_herding_takes_the_greedy_steps(seed: int, known: int) -> None:
    x, known_points = clustered(60, seed=seed), clustered(known, seed=seed + 50)
    squared = cdist(x, x, "sqeuclidean")
    width = np.median(squared[np.triu_indices(60, 1)]) / 4
    kernel = np.exp(-squared / width)
    covered = np.exp(-cdist(known_points, x, "sqeuclidean") / width).max(axis=0, initial=0.0)
    picked = GreedyCoverage().pick(task(x, 12, [known_points] if known else ())).tolist()
    chosen: list[int] = []
    for row in picked:
        gains = np.maximum(kernel - covered, 0).sum(axis=1)
        assert gains[row] >= gains.max() * (1 - 1e-5)
        chosen.append(row)
        covered = np.maximum(covered, kernel[row])
    assert len(set(chosen)) == 12


@pytest.mark.parametrize("seed", range(5))
def test_joint_dynamical_takes_the_greedy_steps_of_the_exact_objective(seed: int) -> None:
    """Sketches that are the gradients: Eq. 11's objective is what every step must maximise."""
    rng = np.random.default_rng(seed)
    gradients, labeled = rng.standard_normal((40, 6)), rng.standard_normal(6) * 3
    values = (gradients**2).sum(axis=1) + 2 * gradients @ labeled

    def objective(chosen: list[int]) -> float:
        total = gradients[chosen].sum(axis=0)
        return float(total @ total + 2 * total @ labeled)

    picked = InteractionGreedy().pick(task(gradients, 10, values=values)).tolist()
    for step in range(10):
        reached = [objective([*picked[:step], row]) for row in range(40) if row not in picked[:step]]
        assert objective(picked[: step + 1]) == pytest.approx(max(reached), rel=1e-5)


def test_without_interaction_joint_dynamical_is_dynamical() -> None:
    values = np.random.default_rng(0).standard_normal(20)
    picked = InteractionGreedy(0.0).pick(task(np.ones((20, 2)), 5, values=values))
    assert picked.tolist() == np.argsort(-values)[:5].tolist()


def test_joint_dynamical_takes_nothing_twice_where_values_are_infinite() -> None:
    values = np.array([1.0, -np.inf, -np.inf, 2.0])
    picked = InteractionGreedy().pick(task(np.ones((4, 2)), 4, values=values)).tolist()
    assert picked[:2] == [3, 0]
    assert sorted(picked) == [0, 1, 2, 3]
