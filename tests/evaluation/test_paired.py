"""McNemar's exact test against scipy's binomial test, and which examples go into it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from dalcli.evaluation.outcomes import Outcomes
from dalcli.evaluation.paired import mcnemar, paired_test


@pytest.mark.parametrize(
    ("better", "worse"), [(31, 14), (14, 31), (0, 1), (5, 0), (10, 10), (1, 0), (0, 40), (600, 500), (3, 9000)]
)
def test_agrees_with_scipy(better: int, worse: int) -> None:
    expected = binomtest(better, better + worse, 0.5).pvalue
    assert mcnemar(better, worse) == pytest.approx(expected, rel=1e-9, abs=1e-300)


@settings(max_examples=100, deadline=None)
@given(better=st.integers(0, 300), worse=st.integers(0, 300))
def test_agrees_with_scipy_everywhere(better: int, worse: int) -> None:
    expected = binomtest(better, better + worse, 0.5).pvalue if better + worse else 1.0
    assert mcnemar(better, worse) == pytest.approx(expected, rel=1e-9)


def test_large_counts_are_no_trouble() -> None:
    assert mcnemar(50_000, 50_000) == 1
    assert mcnemar(50_500, 49_500) == pytest.approx(binomtest(50_500, 100_000, 0.5).pvalue, rel=1e-6)
    assert mcnemar(100_000, 10) == 0


def outcomes(sample: list[int], label: list[int], predicted: list[int]) -> Outcomes:
    made = Outcomes(np.array(sample), np.array(label), np.array(predicted), np.full(len(sample), 0.5, np.float32))
    return Outcomes.from_bytes(made.to_bytes())


def test_only_common_examples_count_and_the_newest_label_does() -> None:
    older = outcomes([9, 1, 2, 3, 4], [0, 0, 1, 2, 2], [0, 0, 0, 2, 1])
    newer = outcomes([1, 2, 3, 4, 5], [0, 1, 0, 2, 1], [1, 1, 2, 2, 1])
    # 1: older alone right; 2 and 4: newer alone; 3: its label was corrected, and both are wrong now; 5, 9: not common.
    found = paired_test("m-0002", newer, "m-0001", older, 0.95)
    assert found is not None
    assert (found.examples, found.better, found.worse) == (4, 2, 1)
    assert found.difference == pytest.approx(1 / 4)
    assert (found.p_value, found.verdict, found.level) == (1.0, "undecided", 0.95)
    assert paired_test("m-0002", newer, "m-0001", outcomes([77], [0], [0]), 0.95) is None


@pytest.mark.parametrize(("level", "verdict"), [(0.95, "better"), (0.999, "undecided")])
def test_a_verdict_needs_its_level(level: float, verdict: str) -> None:
    numbers, label = list(range(100)), [0] * 100
    older = outcomes(numbers, label, [1] * 20 + [0] * 80)
    newer = outcomes(numbers, label, [0] * 95 + [1] * 5)
    found = paired_test("m-0002", newer, "m-0001", older, level)
    assert found is not None
    assert (found.better, found.worse, found.verdict) == (20, 5, verdict)
    assert found.p_value == pytest.approx(binomtest(20, 25, 0.5).pvalue)
    backwards = paired_test("m-0001", older, "m-0002", newer, level)
    assert backwards is not None
    assert backwards.verdict == ("worse" if verdict == "better" else verdict)


def test_outcomes_come_back_sorted_and_small() -> None:
    found = outcomes([5, 3, 70_000], [2, 1, 65_535], [0, 1, 4])
    assert found.sample.tolist() == [3, 5, 70_000]
    assert found.label.tolist() == [1, 2, 65_535]
    assert found.predicted.tolist() == [1, 0, 4]
    assert len(found.to_bytes()) == 3 * 12
