"""Confidence sequences: against their definition in scipy, exact sums, and simulation with repeated looks."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import logsumexp
from scipy.stats import binom

from dalcli.evaluation import intervals
from dalcli.evaluation.intervals import evaluation_labels_needed, sequential, sequential_lower, wilson

TILTS = np.array(intervals._TILTS)
LOG_WEIGHTS = np.array(intervals._LOG_WEIGHTS)


def evidence(successes: float, trials: float, rate: float) -> float:
    """The mixture of the module's docstring, as it stands there."""
    return float(logsumexp(LOG_WEIGHTS + successes * TILTS - trials * np.log(1 - rate + rate * np.exp(TILTS))))


@pytest.mark.parametrize("level", [0.8, 0.95, 0.999])
@pytest.mark.parametrize(("successes", "trials"), [(3, 3), (9, 10), (460, 500), (7, 400), (18_400, 20_000)])
def test_the_lower_bound_is_the_root_of_the_mixture(successes: int, trials: int, level: float) -> None:
    def excess(rate: float) -> float:
        return evidence(successes, trials, rate) + np.log(1 - level)

    low = sequential_lower(successes, trials, level)
    expected = brentq(excess, 0, successes / trials, xtol=1e-15) if excess(0) > 0 else 0.0
    assert low == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("rate", [0.05, 0.5, 0.93])
@pytest.mark.parametrize("trials", [1, 20, 300])
def test_it_is_a_fair_bet_at_the_rate_and_a_losing_one_below(rate: float, trials: int) -> None:
    """What Ville's inequality needs, as an exact sum over all outcomes of a binomial."""
    outcomes = np.arange(trials + 1)
    worth = np.array([evidence(s, trials, rate) for s in outcomes])
    assert logsumexp(binom.logpmf(outcomes, trials, rate) + worth) == pytest.approx(0, abs=1e-9)
    assert logsumexp(binom.logpmf(outcomes, trials, 0.9 * rate) + worth) < 0


def boundary(rate: float, looks: range, excludes: object) -> np.ndarray:
    """At each look the fewest successes whose interval lies above ``rate`` (n + 1: there are none)."""
    return np.array([bisect_left(range(n + 1), True, key=lambda s, n=n: excludes(s, n) > rate) for n in looks])


@pytest.mark.parametrize("rate", [0.6, 0.9])
def test_hundred_looks_are_wrong_no_more_often_than_said_and_one_look_intervals_are(rate: float) -> None:
    level, looks, runs = 0.9, range(10, 1001, 10), 4000
    right = np.random.default_rng(7).random((runs, looks[-1])) < rate
    counts = right.cumsum(axis=1)[:, np.array(looks) - 1]

    def ever_above(excludes: object) -> float:
        return float((counts >= boundary(rate, looks, excludes)).any(axis=1).mean())

    wrong = ever_above(lambda s, n: sequential_lower(s, n, level))
    assert 0.01 < wrong <= 1 - level  # not so wide as to be worth nothing
    assert ever_above(lambda s, n: wilson(s, n, 1 - 2 * (1 - level)).low) > 2 * (1 - level)
    both_sides = (counts >= boundary(rate, looks, lambda s, n: sequential(s, n, level).low)).any(axis=1) | (
        looks - counts >= boundary(1 - rate, looks, lambda s, n: sequential(s, n, level).low)
    ).any(axis=1)
    assert 0.01 < both_sides.mean() <= 1 - level


def test_a_new_version_every_round_on_a_growing_set_is_seldom_declared_good_before_it_is() -> None:
    """Twenty versions, each just below the target, looked at once on a set that grows by 50: not what the theorem is
    about, and its slack suffices all the same."""
    target, looks, runs = 0.9, range(100, 1100, 50), 4000
    drawn = np.random.default_rng(11)
    declared = np.zeros(runs, bool)
    edges = boundary(target, looks, lambda s, n: sequential_lower(s, n, 0.95))
    for n, edge in zip(looks, edges, strict=True):
        declared |= drawn.binomial(n, target - 1e-9, runs) >= edge
    assert declared.mean() <= 0.05


@settings(max_examples=60, deadline=None)
@given(trials=st.integers(1, 3000), part=st.floats(0, 1), level=st.floats(0.5, 0.999))
def test_ends_are_in_order_and_wider_than_wilsons_one_look(trials: int, part: float, level: float) -> None:
    successes = round(part * trials)
    found = sequential(successes, trials, level)
    assert 0 <= found.low <= successes / trials <= found.high <= 1
    assert found.low <= sequential_lower(successes, trials, level) <= successes / trials
    mirrored = sequential(trials - successes, trials, level)
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((found.low, found.high), abs=1e-12)


@pytest.mark.parametrize(("target", "accuracy", "now"), [(0.9, 0.95, 100), (0.5, 1.0, 0), (0.8, 0.84, 250)])
def test_labels_needed_is_the_first_number_that_proves_it(target: float, accuracy: float, now: int) -> None:
    needed = evaluation_labels_needed(target, accuracy, now, 0.95)
    assert needed is not None
    assert needed > 0
    first = next(n for n in range(1, 10_000) if sequential_lower(accuracy * n, n, 0.95) >= target)
    assert now + needed == first


def test_labels_needed_when_nothing_is_needed_or_nothing_helps() -> None:
    assert evaluation_labels_needed(0.9, 0.95, 1000) == 0
    assert evaluation_labels_needed(0.9, 0.9, 1000) is None
    assert evaluation_labels_needed(0.9, 0.5, 0) is None
    assert evaluation_labels_needed(0.9, 0.9 + 1e-6, 1000) is None
    more_sure = evaluation_labels_needed(0.9, 0.95, 100, 0.99)
    assert more_sure is not None
    assert more_sure > (evaluation_labels_needed(0.9, 0.95, 100, 0.95) or 0)


@pytest.mark.parametrize("arguments", [(0.0, 0.5, 1), (1.0, 0.5, 1), (0.5, 1.1, 1), (0.5, 0.5, -1), (0.5, 0.5, 1, 1.0)])
def test_impossible_arguments_are_refused(arguments: tuple[float, float, int]) -> None:
    with pytest.raises(ValueError, match="no number for"):
        evaluation_labels_needed(*arguments)
    with pytest.raises(ValueError, match="no interval"):
        sequential(3, 2)
