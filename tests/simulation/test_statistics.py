"""Bootstrap, Student's t, areas and crossings against scipy, brute force and numbers done by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats

from dalcli.simulation.statistics import bootstrap
from dalcli.simulation.statistics.comparison import estimate, needed
from dalcli.simulation.statistics.curves import area, labels_needed
from dalcli.simulation.statistics.student import normal_cdf, t_cdf, t_quantile


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 7, 10, 29])
def test_student_t_is_scipys(degrees: int) -> None:
    for x in (-3.0, -0.4, 0.0, 1.7, 12.0):
        assert t_cdf(x, degrees) == pytest.approx(scipy.stats.t.cdf(x, degrees), abs=1e-12)
    for probability in (0.5, 0.9, 0.975, 0.999):
        expected = scipy.stats.t.ppf(probability, degrees)
        assert t_quantile(probability, degrees) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_student_t_refuses_what_it_cannot() -> None:
    for probability, degrees in ((0.4, 3), (1.0, 3), (0.9, 0)):
        with pytest.raises(ValueError, match="out of range"):
            t_quantile(probability, degrees)


def test_normal_distribution_is_scipys() -> None:
    for x in (-8.0, -1.0, 0.0, 2.5):
        assert normal_cdf(x) == pytest.approx(scipy.stats.norm.cdf(x), rel=1e-12)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_all_resamples_of_few_values_are_enumerated(count: int) -> None:
    values = np.array([0.3, 1.9, -2.0, 5.5, 0.7])[:count]
    matrix, probabilities = bootstrap.weights(count)
    brute = np.array([np.mean(pick) for pick in itertools.product(values, repeat=count)])
    means = matrix @ values
    assert probabilities.sum() == pytest.approx(1)
    for value in np.unique(brute.round(9)):
        share = np.mean(np.isclose(brute, value))
        assert probabilities[np.isclose(means, value)].sum() == pytest.approx(share)


def test_random_resamples_are_distributed_like_scipys() -> None:
    values = np.random.default_rng(3).normal(size=12)
    matrix, probabilities = bootstrap.weights(12)
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, confidence_level=0.9, n_resamples=20_000, method="percentile", rng=1
    ).confidence_interval
    ours = [bootstrap.quantile(matrix @ values, probabilities, q) for q in (0.05, 0.95)]
    assert ours == pytest.approx(list(theirs), abs=0.02)


def test_interval_is_the_bootstraps_quantiles_at_hesterbergs_tails() -> None:
    values = np.random.default_rng(5).normal(size=15)
    tail = scipy.stats.norm.cdf(-math.sqrt(15 / 14) * scipy.stats.t.ppf(0.975, 14))
    expected = scipy.stats.bootstrap(
        (values,), np.mean, confidence_level=1 - 2 * tail, n_resamples=50_000, method="percentile", rng=2
    ).confidence_interval
    assert bootstrap.mean_interval(values, 0.95) == pytest.approx(tuple(expected), abs=0.03)


def test_interval_of_twelve_values_covers_nearly_as_often_as_it_says() -> None:
    random = np.random.default_rng(8)
    inside = 0
    for _ in range(400):
        bounds = bootstrap.mean_interval(random.normal(size=12), 0.95)
        assert bounds is not None
        inside += bounds[0] <= 0 <= bounds[1]
    assert 0.92 <= inside / 400 <= 0.98


def test_few_values_give_no_interval_and_three_at_most_their_range() -> None:
    assert bootstrap.mean_interval(np.array([1.0]), 0.95) is None
    assert bootstrap.mean_interval(np.array([1.0, 2.0]), 0.95) is None
    assert bootstrap.mean_interval(np.array([1.0, 2.0, 4.0]), 0.95) == (1.0, 4.0)
    assert bootstrap.attainable_level(3) == 0.75
    assert bootstrap.attainable_level(6) > 0.95


def test_estimate_leaves_out_what_is_missing() -> None:
    found = estimate(np.array([0.5, np.nan, 0.7]), 0.95)
    assert found is not None
    assert (found.mean, found.seeds, found.low) == (pytest.approx(0.6), 2, None)
    assert found.sd == pytest.approx(np.std([0.5, 0.7], ddof=1))
    alone = estimate(np.array([0.5]), 0.95)
    assert alone is not None
    assert (alone.sd, alone.low, alone.high) == (None, None, None)
    assert estimate(np.array([np.nan]), 0.95) is None


def test_area_is_the_trapezoids_over_the_span() -> None:
    labels, curve = np.array([10.0, 20, 50]), np.array([[0.2, 0.6, 0.8], [0.5, 0.5, 0.5]])
    assert area(labels, curve) == pytest.approx([np.trapezoid(curve[0], labels) / 40, 0.5])
    assert area(np.array([10.0]), np.array([[0.3]])) == pytest.approx([0.3])


@pytest.mark.parametrize(
    ("target", "expected"), [(0.1, 10), (0.2, 10), (0.4, 15), (0.6, 20), (0.65, 35), (0.7, 50), (0.71, math.inf)]
)
def test_labels_needed_are_interpolated_on_the_first_rise(target: float, expected: float) -> None:
    labels, curve = np.array([10.0, 20, 30, 40, 50]), np.array([0.2, 0.6, 0.6, 0.7 - 1e-9, 0.7])
    curve[3] = 0.7 if target == 0.65 else 0.5  # a dip does not matter once the target was reached
    assert labels_needed(labels, curve, target) == pytest.approx(expected)


def test_savings_are_paired_and_say_when_the_baseline_never_gets_there() -> None:
    labels = np.array([10.0, 20, 30])
    ours = np.array([[0.5, 0.7, 0.9], [0.4, 0.6, 0.8], [0.5, 0.7, 0.9]])
    theirs = np.array([[0.5, 0.6, 0.7], [0.4, 0.5, 0.6], [np.nan] * 3])
    found = needed(labels, ours, theirs, 0.6, 0.95)
    assert found is not None
    # All three of ours: mean 0.4667, 0.6667; the two shared seeds: ours 0.45, 0.65 and theirs 0.45, 0.55, 0.65.
    assert found.labels == pytest.approx(10 + 10 * (0.6 - 1.4 / 3) / 0.2)
    assert found.saved == pytest.approx((20 + 10 * 0.5) - (10 + 10 * 0.75))
    assert (found.saved_low, found.at_least) == (None, False)
    beyond = needed(labels, ours, theirs, 0.8, 0.95)
    assert beyond is not None
    assert beyond.at_least
    assert beyond.saved == pytest.approx(30 - (20 + 10 * 0.75))
    never = needed(labels, ours, theirs, 0.95, 0.95)
    assert never is not None
    assert (never.labels, never.saved, never.at_least) == (None, None, False)
    assert needed(labels, np.full((2, 3), np.nan), None, 0.5, 0.95) is None


def test_bounds_of_labels_needed_are_those_of_resampled_mean_curves() -> None:
    labels = np.array([10.0, 20, 30])
    curves = np.array([[0.1, 0.5, 0.9], [0.2, 0.6, 0.8], [0.3, 0.4, 0.9], [0.1, 0.4, 0.7]])
    found = needed(labels, curves, None, 0.6, 0.95)
    assert found is not None
    brute = [
        labels_needed(labels, curves[list(pick)].mean(axis=0), 0.6) for pick in itertools.product(range(4), repeat=4)
    ]
    tail = scipy.stats.norm.cdf(-math.sqrt(4 / 3) * scipy.stats.t.ppf(0.975, 3))
    expected = np.quantile(brute, [tail, 1 - tail], method="inverted_cdf")
    assert (found.low, found.high) == pytest.approx(tuple(expected))
