"""Each acquisition against its definition, computed another way."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pools import random_digests, request
from scipy import stats

from dalcli.scores.table import ScoreBlock
from dalcli.strategies.base import Acquisition
from dalcli.strategies.confidence import LeastConfidence
from dalcli.strategies.dynamical import Dynamical
from dalcli.strategies.entropy import Entropy
from dalcli.strategies.margin import Margin

UNCERTAINTY = [LeastConfidence(), Margin(), Entropy()]
ASKED = request(None, 1, random_digests(1))


def block(**columns: np.ndarray) -> ScoreBlock:
    return ScoreBlock(random_digests(len(next(iter(columns.values())))), columns)


def values(acquisition: Acquisition, probabilities: object) -> np.ndarray:
    return acquisition.values(block(probabilities=np.array(probabilities, np.float32)), ASKED)


def gradients(sq_norm: list[float], inner: list[float]) -> ScoreBlock:
    return block(grad_sq_norm=np.array(sq_norm), grad_inner=np.array(inner))


@pytest.mark.parametrize(
    ("gamma", "expected"), [(0, [1, 2, 3]), (1, [11, -18, 3]), (2, [21, -38, 3]), (math.inf, [10, -20, 0])]
)
def test_dynamical_is_equation_15(gamma: float, expected: list[float]) -> None:
    np.testing.assert_array_equal(Dynamical(gamma).values(gradients([1, 2, 3], [10, -20, 0]), ASKED), expected)


def test_dynamical_reads_only_the_columns_of_its_gamma() -> None:
    assert Dynamical(0).columns == ("grad_sq_norm",)
    assert Dynamical(math.inf).columns == ("grad_inner",)
    assert Dynamical().columns == ("grad_sq_norm", "grad_inner")


def test_dynamical_of_a_diverged_model_is_undefined_without_a_warning() -> None:
    delta = Dynamical(2).values(gradients([math.nan, math.inf, 1e308, math.inf], [1, -math.inf, 1e308, 1]), ASKED)
    np.testing.assert_array_equal(delta, [math.nan, math.nan, math.inf, math.inf])


@pytest.mark.parametrize("gamma", [-1.0, math.nan])
def test_a_gamma_out_of_range_is_refused(gamma: float) -> None:
    with pytest.raises(ValueError, match="gamma"):
        Dynamical(gamma)


@given(st.integers(1, 12), st.integers(0, 99))
def test_uncertainty_scores_match_their_textbook_definition(classes: int, seed: int) -> None:
    probabilities = np.random.default_rng(seed).dirichlet(np.full(classes, 0.5), 5).astype(np.float32)
    exact = np.sort(probabilities.astype(np.float64), axis=1)
    runner_up = exact[:, -2] if classes > 1 else exact[:, -1] - 1
    close = {"rtol": 0, "atol": 3e-6}
    np.testing.assert_allclose(values(LeastConfidence(), probabilities), 1 - exact[:, -1], **close)
    if classes > 1:
        np.testing.assert_allclose(values(Margin(), probabilities), 1 - (exact[:, -1] - runner_up), **close)
    np.testing.assert_allclose(values(Entropy(), probabilities), stats.entropy(exact, axis=1), **close)


def test_confident_samples_keep_their_digits_and_their_order() -> None:
    # Logits (0, −a, −a − 1) in float64; max p rounds to 1 in float32 for every row but the first ones.
    gaps = np.arange(10.0, 60.0)
    logits = np.stack([np.zeros_like(gaps), -gaps, -gaps - 1], axis=1)
    exact = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    stored = exact.astype(np.float32)
    assert (stored[:, 0] == 1).sum() > 40
    small = exact[:, 1] + exact[:, 2]
    entropy = -(exact[:, 1:] * np.log(exact[:, 1:])).sum(axis=1) - (1 - small) * np.log1p(-small)
    for acquisition, expected in [(LeastConfidence(), small), (Margin(), small + exact[:, 1]), (Entropy(), entropy)]:
        got = values(acquisition, stored)
        np.testing.assert_allclose(got, expected, rtol=1e-6)
        assert (np.diff(got) < 0).all()


def test_the_least_certain_sample_scores_highest() -> None:
    rows = [[1, 0, 0], [0.6, 0.4, 0], [0.5, 0.5, 0], [1 / 3, 1 / 3, 1 / 3]]
    third = 1 / 3
    np.testing.assert_allclose(values(LeastConfidence(), rows), [0, 0.4, 0.5, 2 * third], atol=1e-7)
    np.testing.assert_allclose(values(Margin(), rows), [0, 0.8, 1, 1], atol=1e-7)
    np.testing.assert_allclose(values(Entropy(), rows), stats.entropy(rows, axis=1), atol=1e-7)


@pytest.mark.parametrize("acquisition", UNCERTAINTY)
def test_a_single_class_leaves_no_doubt(acquisition: Acquisition) -> None:
    np.testing.assert_array_equal(values(acquisition, [[1.0], [1.0]]), [0, 0])


@pytest.mark.parametrize("acquisition", UNCERTAINTY)
@pytest.mark.parametrize("row", [[math.nan, 0.5, 0.5], [0.5, math.nan, 0.1], [0.9, 0.1, math.nan], [math.nan] * 3])
def test_undefined_probabilities_give_undefined_scores(acquisition: Acquisition, row: list[float]) -> None:
    first, second = values(acquisition, [row, [0.5, 0.25, 0.25]])
    assert math.isnan(first)
    assert second > 0


@pytest.mark.parametrize("acquisition", [*UNCERTAINTY, Dynamical()])
def test_scores_of_an_empty_block_are_empty(acquisition: Acquisition) -> None:
    empty = block(probabilities=np.zeros((0, 3), np.float32), grad_sq_norm=np.zeros(0), grad_inner=np.zeros(0))
    assert acquisition.values(empty, ASKED).shape == (0,)
