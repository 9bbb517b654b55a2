"""Outputs of merged classes are added up, whichever classes the version knows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dalcli.crowd.merging import merged_logits, merged_probabilities, representatives


@settings(max_examples=40)
@given(
    counted_as=st.lists(st.integers(0, 4), min_size=5, max_size=5), known=st.integers(1, 5), seed=st.integers(0, 999)
)
def test_the_probability_of_a_whole_is_that_of_its_parts(counted_as: list[int], known: int, seed: int) -> None:
    roots = [target if counted_as[target] == target else place for place, target in enumerate(counted_as)]
    logits = np.random.default_rng(seed).normal(size=(3, known)).astype(np.float32)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = merged_probabilities(probabilities, roots)
    for whole in set(roots[:known]):
        parts = [place for place in range(known) if roots[place] == whole]
        stands = representatives(roots, known)[parts[0]]
        assert stands == (whole if whole < known else parts[0])
        np.testing.assert_allclose(found[:, stands], probabilities[:, parts].sum(axis=1), rtol=1e-6)
        assert (found[:, [part for part in parts if part != stands]] == 0).all()
    of_logits = merged_logits(logits, roots)
    again = np.exp(of_logits) / np.exp(of_logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(again, found, rtol=1e-5)


def test_nothing_merged_is_nothing_copied() -> None:
    values = np.ones((2, 3), np.float32)
    assert merged_probabilities(values, (0, 1, 2)) is values
    assert merged_logits(values, (0, 1, 2)) is values


def test_dropout_samples_are_merged_too() -> None:
    values = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    assert merged_probabilities(values, (0, 0, 2))[1, 1].tolist() == pytest.approx([9 + 10, 0, 11])
