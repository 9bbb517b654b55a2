"""Wilson intervals against scipy."""

from __future__ import annotations

import pytest
from scipy.special import ndtri
from scipy.stats import binomtest

from dalcli.evaluation.intervals import wilson


@pytest.mark.parametrize("level", [0.5, 0.8, 0.95, 0.999])
@pytest.mark.parametrize(
    ("successes", "trials"), [(0, 1), (1, 1), (3, 7), (0, 40), (40, 40), (785, 1000), (999_999, 10**6)]
)
def test_agrees_with_scipy(successes: int, trials: int, level: float) -> None:
    expected = binomtest(successes, trials).proportion_ci(level, method="wilson")
    interval = wilson(successes, trials, level)
    assert interval.low == pytest.approx(expected.low, abs=1e-12)
    assert interval.high == pytest.approx(expected.high, abs=1e-12)
    assert 0 <= interval.low <= successes / trials <= interval.high <= 1
    assert interval.level == level


def test_levels_near_one_keep_their_digits() -> None:
    tail = 2.0**-41
    z = -ndtri(tail)
    # With one success of one trial the lower end is 1 / (1 + z²).
    assert wilson(1, 1, 1 - 2 * tail).low == pytest.approx(1 / (1 + z * z), rel=1e-12)


def test_the_ends_are_exact() -> None:
    assert wilson(0, 5).low == 0
    assert wilson(5, 5).high == 1


@pytest.mark.parametrize(
    ("successes", "trials", "level"), [(0, 0, 0.9), (-1, 3, 0.9), (4, 3, 0.9), (1, 3, 0.0), (1, 3, 1.0)]
)
def test_impossible_counts_and_levels_are_refused(successes: int, trials: int, level: float) -> None:
    with pytest.raises(ValueError, match="no interval"):
        wilson(successes, trials, level)
