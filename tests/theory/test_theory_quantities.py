"""Alignment, bound, dynamics, MMD, τ and R against their definitions, brute force and scipy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn import functional

from dalcli.theory import alignment, dynamics, kendall, mmd, ratio
from dalcli.theory.kernel import normalised, one_hot
from tests.theory.small_networks import CLASSES, images, jacobians, network

N = 12


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def theta(random: np.random.Generator) -> np.ndarray:
    rows = random.normal(size=(N, 30))
    return normalised(rows @ rows.T, 1e-3).values


@pytest.fixture
def labels(random: np.random.Generator) -> np.ndarray:
    return one_hot(random.integers(CLASSES, size=N), CLASSES)


def test_the_kernel_is_scaled_by_its_mean_diagonal_and_ridged_once() -> None:
    raw = np.array([[4.0, 2.0], [2.0, 12.0]])
    found = normalised(raw, 0.5)
    np.testing.assert_allclose(found.values, [[1.0, 0.25], [0.25, 2.0]])
    assert found.scale == 8.0
    np.testing.assert_allclose(found.of(np.array([1])), [[2.0]])
    for bad in (np.zeros((2, 2)), np.full((2, 2), np.nan), np.zeros((0, 0))):
        with pytest.raises(ValueError, match="zero or not finite"):
            normalised(bad, 0.1)


def test_alignment_and_bound_follow_their_definitions(theta: np.ndarray, labels: np.ndarray) -> None:
    values, vectors = np.linalg.eigh(theta)
    by_eigenvectors = sum(values[i] * (vectors[:, i] @ labels[:, k]) ** 2 for i in range(N) for k in range(CLASSES))
    assert alignment.alignment(theta, labels) == pytest.approx(by_eigenvectors)
    inverse = np.trace(labels.T @ np.linalg.inv(theta) @ labels)
    assert alignment.bound(theta, labels) == pytest.approx(np.sqrt(2 * inverse / N))
    outputs = np.random.default_rng(1).normal(size=labels.shape)
    difference = outputs - labels
    assert alignment.g_mse(theta, outputs, labels) == pytest.approx(np.trace(difference.T @ theta @ difference))
    assert alignment.g_mse(theta, np.zeros_like(labels), labels) == alignment.alignment(theta, labels)


def test_theorem_2_holds_and_is_tight_for_the_identity(theta: np.ndarray, labels: np.ndarray) -> None:
    found = alignment.theorem_2(theta, labels)
    assert found.lower < found.middle < found.upper
    assert found.lower == pytest.approx(N**2 / alignment.alignment(theta, labels))
    assert found.middle == pytest.approx(N / 2 * alignment.bound(theta, labels) ** 2)
    assert found.condition == pytest.approx(np.linalg.cond(theta))
    tight = alignment.theorem_2(2 * np.eye(N), labels)
    assert tight.lower == pytest.approx(tight.middle) == pytest.approx(tight.upper)


def test_shuffled_labels_are_less_aligned_where_classes_cluster(random: np.random.Generator) -> None:
    classes = np.repeat(np.arange(3), 8)
    rows = random.normal(size=(3, 20))[classes] + 0.3 * random.normal(size=(24, 20))
    theta, labels = normalised(rows @ rows.T, 1e-2).values, one_hot(classes, 3)
    found = alignment.shuffled(theta, labels, 99, random)
    assert found.alignment < 0.7 * alignment.alignment(theta, labels)
    assert found.bound > 1.5 * alignment.bound(theta, labels)
    only = alignment.shuffled(theta, np.ones((24, 1)), 5, random)  # nothing to shuffle
    assert only.alignment == pytest.approx(alignment.alignment(theta, np.ones((24, 1))))
    assert only.bound == pytest.approx(alignment.bound(theta, np.ones((24, 1))))


def test_sums_over_subsets_are_those_of_the_submatrices(theta: np.ndarray, labels: np.ndarray) -> None:
    chosen = np.random.default_rng(0).random((5, N)) < 0.5
    expected = [alignment.alignment(theta[np.ix_(c, c)], labels[c]) for c in chosen]
    np.testing.assert_allclose(alignment.subset_sums(theta, labels, chosen), expected)


def test_the_error_is_gradient_descents_and_lies_between_its_bounds(theta: np.ndarray, labels: np.ndarray) -> None:
    steps = (1, 2, 7, 40)
    found = dynamics.convergence(theta, labels, steps)
    assert found.rate == pytest.approx(1 / np.linalg.eigvalsh(theta)[-1])
    residual, done = labels.copy(), 0
    for entry in found.steps:
        for _ in range(entry.step - done):  # f starts at 0; residual = Y − f
            residual = residual - found.rate * theta @ residual
        done = entry.step
        assert entry.squared_error == pytest.approx(np.sum(residual**2))
        assert entry.lower <= entry.squared_error <= entry.upper
        total, aligned = found.at_start, alignment.alignment(theta, labels)
        assert entry.upper == pytest.approx(total - found.rate * aligned)
        assert entry.lower == pytest.approx(total - 2 * entry.step * found.rate * aligned)
    assert [entry.step for entry in found.steps] == list(steps)


def test_mmd_is_the_distance_of_mean_feature_vectors() -> None:
    rows = np.random.default_rng(0).normal(size=(10, 4))
    first, second = np.arange(4), np.arange(4, 10)
    distance = rows[first].mean(0) - rows[second].mean(0)
    assert mmd.mmd_squared(rows @ rows.T, first, second) == pytest.approx(distance @ distance)
    overlapping = np.arange(7)
    distance = rows[first].mean(0) - rows[overlapping].mean(0)
    assert mmd.mmd_squared(rows @ rows.T, first, overlapping) == pytest.approx(distance @ distance)
    pairs = [rows[i] @ rows[j] for i, j in itertools.permutations(first, 2)]
    others = [rows[i] @ rows[j] for i, j in itertools.permutations(second, 2)]
    unbiased = np.mean(pairs) + np.mean(others) - 2 * np.mean(rows[first] @ rows[second].T)
    assert mmd.unbiased_mmd_squared(rows @ rows.T, first, second) == pytest.approx(unbiased)


def test_the_distance_to_the_whole_is_a_share_of_the_distance_to_the_rest(random: np.random.Generator) -> None:
    rows = random.normal(size=(20, 5))
    theta, part, rest = rows @ rows.T, np.arange(5), np.arange(5, 20)
    whole = mmd.mmd_squared(theta, part, np.arange(20))
    apart = mmd.compare(theta, part, rest, 50, random)
    found = apart.from_whole(15 / 20)
    assert found.mmd**2 == pytest.approx(whole)
    assert found.random_high == pytest.approx(0.75 * apart.random_high)
    assert found.unbiased_squared == pytest.approx(0.75**2 * apart.unbiased_squared)
    assert found.p_value == apart.p_value
    assert (found.first, found.second, found.permutations) == (5, 15, 50)


def test_the_permutation_test_enumerates_to_the_exact_p_value(random: np.random.Generator) -> None:
    rows = random.normal(size=(7, 3))
    rows[:3] += 0.8
    theta, first, rest = rows @ rows.T, np.arange(3), np.arange(3, 7)
    observed = mmd.mmd_squared(theta, first, rest)
    everything = [
        mmd.mmd_squared(theta, np.array(part), np.setdiff1d(np.arange(7), part))
        for part in itertools.combinations(range(7), 3)
    ]
    exact = np.mean([value >= observed * (1 - 1e-12) for value in everything])
    found = mmd.compare(theta, first, rest, 4000, random)
    assert found.p_value == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 4000) + 1e-3)
    assert found.random_median**2 == pytest.approx(np.median(everything), rel=0.05)
    assert found.random_high**2 == pytest.approx(np.quantile(everything, 0.95), rel=0.1)


def test_p_values_are_uniform_under_random_draws_and_small_under_drift() -> None:
    random = np.random.default_rng(5)
    rows = random.normal(size=(60, 3)) + 2.0
    theta = rows @ rows.T
    found = []
    for _ in range(150):
        drawn = random.permutation(60)
        found.append(mmd.compare(theta, drawn[:15], drawn[15:], 99, random).p_value)
    assert stats.kstest(found, "uniform").pvalue > 0.001
    by_first_coordinate = np.argsort(rows[:, 0])
    drifted = mmd.compare(theta, by_first_coordinate[:15], by_first_coordinate[15:], 199, random)
    assert drifted.p_value == 1 / 200
    assert drifted.mmd > drifted.random_high > drifted.random_median
    assert drifted.unbiased_squared > 0


@pytest.mark.parametrize("seed", range(6))
def test_tau_is_scipys_with_ties_too(seed: int) -> None:
    random = np.random.default_rng(seed)
    x = random.integers(4 if seed % 2 else 1000, size=30).astype(float)
    y = x + random.normal(size=30) * (seed + 1) if seed % 3 else random.integers(5, size=30).astype(float)
    assert kendall.kendall(x, y).tau == pytest.approx(stats.kendalltau(x, y, variant="b").statistic)


def test_taus_standard_error_is_its_spread() -> None:
    random = np.random.default_rng(0)
    found = []
    for _ in range(400):
        x = random.normal(size=60)
        found.append(kendall.kendall(x, x + random.normal(size=60)))
    spread = np.std([k.tau for k in found])
    assert np.mean([k.standard_error for k in found]) == pytest.approx(spread, rel=0.15)
    assert np.isnan(kendall.kendall(np.ones(5), np.arange(5.0)).tau)
    assert np.isnan(kendall.kendall(np.arange(2.0), np.arange(2.0)).tau)


def pool_gradients() -> tuple[np.ndarray, np.ndarray]:
    """Pseudo-label gradients of 8 pool samples (8, p), and G_S of 4 labeled ones, from float64 Jacobians."""
    model, inputs = network(), images(12)
    rows = jacobians(model, inputs)
    with torch.no_grad():
        probabilities = functional.softmax(model(inputs.double()), dim=1).numpy()
    residuals = probabilities - one_hot(probabilities.argmax(1), CLASSES)
    pool = np.einsum("nk,nkp->np", residuals, rows)[:8]
    truth = one_hot(np.arange(4) % CLASSES, CLASSES)
    labeled = np.einsum("nk,nkp->p", (probabilities[8:] - truth), rows[8:])
    return pool, labeled


def test_the_ratio_of_a_batch_and_of_the_means_over_all_batches() -> None:
    """Eq. 14 from Eq. 8: G(S ∪ Q) − G(S) with everything written out."""
    pool, labeled = pool_gradients()
    sq, inner = np.sum(pool**2, axis=1), pool @ labeled
    start = labeled @ labeled
    numerators, denominators = [], []
    for batch in itertools.combinations(range(8), 3):
        members = list(batch)
        joint = pool[members].sum(0)
        alone = sum((labeled + pool[u]) @ (labeled + pool[u]) - start for u in members)
        together = (labeled + joint) @ (labeled + joint) - start
        top, bottom = ratio.terms(
            np.array([sq[members].sum()]), np.array([inner[members].sum()]), np.array([joint @ joint])
        )
        assert top[0] == pytest.approx(alone)
        assert bottom[0] == pytest.approx(together)
        numerators.append(alone)
        denominators.append(together)
    total = pool.sum(0)
    means = ratio.PoolMeans.of(sq, inner, float(total @ total))
    assert means.ratio_of_means(3) == pytest.approx(np.mean(numerators) / np.mean(denominators))
    assert means.ratio_of_means(1) == 1.0


@pytest.mark.parametrize("cross", [0.3, -0.01, 0.0])
def test_the_largest_batch_is_the_last_one_within_bounds(cross: float) -> None:
    means = ratio.PoolMeans(sq_norm=2.0, inner=0.5, cross=cross)
    within = [b for b in range(1, 201) if 0.8 <= means.ratio_of_means(b) <= 1.25]
    assert means.largest_batch(0.8, 1.25, 200) == max(within)
    assert ratio.PoolMeans(1.0, -1.0, 0.1).largest_batch(0.8, 1.25, 50) == 1


def test_a_summary_of_random_batches() -> None:
    random = np.random.default_rng(0)
    denominators = random.normal(2.0, 1.5, size=400)
    numerators = 0.5 * denominators + 0.1 * random.normal(size=400)
    found = ratio.summarise(numerators, denominators, random)
    ratios = numerators / denominators
    assert found.median.value == pytest.approx(np.median(ratios))
    assert found.quantiles["25%"] == pytest.approx(np.quantile(ratios, 0.25))
    assert list(found.quantiles) == ["5%", "25%", "75%", "95%"]
    assert found.ratio_of_means.value == pytest.approx(numerators.mean() / denominators.mean())
    assert found.ratio_of_means.low < 0.5 < found.ratio_of_means.high
    assert found.median.low < found.median.value < found.median.high
    assert found.not_positive == np.count_nonzero(denominators <= 0) > 0
    error = stats.bootstrap((ratios,), np.median, n_resamples=2000, rng=random).standard_error
    assert (found.median.high - found.median.low) / (2 * 1.96) == pytest.approx(error, rel=0.3)


def test_a_batch_without_any_effect_has_no_ratio() -> None:
    found = ratio.summarise(np.array([1.0, 2.0, 3.0]), np.array([0.0, 2.0, 2.0]), np.random.default_rng(0))
    assert np.isnan(ratio.ratio(1.0, 0.0))
    assert found.median.value == pytest.approx(1.25)
    assert found.not_positive == 1
    nothing = ratio.summarise(np.zeros(3), np.zeros(3), np.random.default_rng(0))
    assert np.isnan([nothing.median.value, nothing.quantiles["5%"], nothing.ratio_of_means.high]).all()
