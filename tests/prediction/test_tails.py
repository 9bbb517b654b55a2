"""Tails and bounds against scipy, which computes them otherwise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dalcli.prediction.tails import binomial_tail, clopper_pearson_upper, hypergeometric_tail, unseen_upper


@given(st.integers(1, 5000), st.floats(0, 1), st.floats(1e-6, 1 - 1e-6))
def test_binomial(trials: int, part: float, rate: float) -> None:
    successes = int(part * trials)
    assert binomial_tail(successes, trials, rate) == pytest.approx(
        stats.binom.cdf(successes, trials, rate), rel=1e-7, abs=1e-12
    )


@given(st.integers(1, 3000), st.integers(0, 3000), st.floats(0, 1), st.floats(0, 1))
def test_hypergeometric(drawn: int, unseen: int, part: float, share: float) -> None:
    population = drawn + unseen
    successes, marked = int(part * drawn), int(share * population)
    expected = stats.hypergeom.cdf(successes, population, marked, drawn)
    assert hypergeometric_tail(successes, population, marked, drawn) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@given(st.integers(1, 5000), st.floats(0, 1), st.sampled_from([0.5, 0.05, 0.001]))
def test_clopper_pearson(trials: int, part: float, miss: float) -> None:
    successes = int(part * trials)
    expected = 1.0 if successes == trials else stats.beta.ppf(1 - miss, successes + 1, trials - successes)
    assert clopper_pearson_upper(successes, trials, miss) == pytest.approx(expected, abs=1e-9)


@given(st.integers(1, 300), st.integers(0, 400), st.floats(0, 1), st.sampled_from([0.21, 0.0513]))
def test_the_bound_on_the_unseen_is_the_smallest_one_that_counting_allows(
    drawn: int, unseen: int, part: float, miss: float
) -> None:
    successes = int(part * drawn)
    excluded = [
        stats.hypergeom.cdf(successes, drawn + unseen, successes + more, drawn) <= miss for more in range(unseen + 1)
    ]
    expected = next((more - 1 for more in range(unseen + 1) if excluded[more]), unseen)
    assert unseen_upper(successes, drawn, unseen, miss) == expected


def test_ends() -> None:
    assert binomial_tail(-1, 5, 0.3) == 0
    assert binomial_tail(5, 5, 0.3) == 1
    assert binomial_tail(0, 5, 0.0) == 1
    assert binomial_tail(3, 5, 1.0) == 0
    with pytest.raises(ValueError, match="no bound"):
        clopper_pearson_upper(0, 0, 0.05)
