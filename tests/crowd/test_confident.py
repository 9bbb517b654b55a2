"""Suspect labels against cleanlab's numbers and against the definition, sample by sample."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dalcli.crowd.confident import suspects

BY_CLEANLAB = [
    1, 41, 4, 29, 13, 49, 6, 55, 48, 7, 35, 19, 11, 5, 54, 10, 14, 40, 26, 2, 36, 22, 24, 8, 42, 53, 32, 39, 16,
]  # fmt: skip
"""find_label_issues(filter_by='confident_learning', return_indices_ranked_by='self_confidence'), version 2.9.0."""


def noisy(seed: int, n: int, k: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Predictions, rounded so that they are the same everywhere, and labels of which some are wrong."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, k, n)
    logits = random.normal(size=(n, k))
    logits[np.arange(n), truth] += 1.2
    given = np.where(random.random(n) < 0.15, (truth + random.integers(1, k, n)) % k, truth)
    probabilities = np.exp(1.5 * logits)
    probabilities = np.round(probabilities / probabilities.sum(axis=1, keepdims=True), 3)
    return probabilities / probabilities.sum(axis=1, keepdims=True), given


def test_it_finds_what_cleanlab_finds_in_the_same_order() -> None:
    found = suspects(*noisy(3, 60, 4))
    assert found.rows.tolist() == BY_CLEANLAB


def by_definition(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> dict[int, int]:
    count = probabilities.shape[1]
    mean = {
        k: np.mean([p[k] for p, label in zip(probabilities, labels, strict=True) if label == k]) for k in set(labels)
    }
    found = {}
    for row, (p, label) in enumerate(zip(probabilities, labels, strict=True)):
        confident = [k for k in range(count) if k in mean and p[k] >= max(mean[k], 1e-6) - 1e-6]
        if confident:
            best = max(confident, key=lambda k: (p[k], -k))
            if best != label and p[best] > p[label]:
                found[row] = best
    return found


@settings(max_examples=40)
@given(seed=st.integers(0, 10**6), n=st.integers(2, 40), k=st.integers(2, 5))
def test_it_is_the_definition(seed: int, n: int, k: int) -> None:
    probabilities, labels = noisy(seed, n, k)
    found = suspects(probabilities, labels)
    assert dict(zip(found.rows.tolist(), found.suggested.tolist(), strict=True)) == by_definition(probabilities, labels)
    given_probability = probabilities[found.rows, labels[found.rows]]
    assert (np.diff(given_probability) >= 0).all()


def test_what_fits_is_never_suspect() -> None:
    probabilities = np.eye(3)[[0, 1, 2, 0]] * 0.9 + 1 / 30
    assert suspects(probabilities, np.array([0, 1, 2, 0])).rows.tolist() == []
    assert suspects(probabilities, np.array([0, 1, 2, 1])).rows.tolist() == [3]
