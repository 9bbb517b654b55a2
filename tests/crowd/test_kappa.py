"""Cohen's kappa against scikit-learn's."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from dalcli.crowd.kappa import agreement, kappa


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_it_is_that_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    one, other = zip(*pairs, strict=True)
    found = kappa(one, other)
    if len({*one, *other}) == 1:
        assert found is None  # 0 / 0
        return
    expected = float(cohen_kappa_score(one, other))
    assert found is not None
    assert not math.isnan(expected)
    assert found == pytest.approx(expected, abs=1e-12)
    assert kappa(other, one) == pytest.approx(found)


def test_without_answers_there_is_none() -> None:
    assert agreement([], []) is None
    assert kappa([], []) is None
    assert agreement([1, 2], [1, 3]) == 0.5
