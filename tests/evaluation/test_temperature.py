"""Temperatures against scipy's minimiser and scikit-learn's log loss; what happens where none can be fitted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.metrics import log_loss

from dalcli.evaluation.metrics import summarise
from dalcli.evaluation.temperature import COLDEST, FEWEST, FOLDS, HOTTEST, cross_fitted, fit, scaled


def drawn(n: int, classes: int, true_temperature: float, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Labels that logits foretell exactly at ``true_temperature``."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2.5, (n, classes)).astype(np.float32)
    chances = softmax(logits.astype(float) / true_temperature, axis=1).cumsum(axis=1)
    return (random.random((n, 1)) > chances).sum(axis=1).clip(max=classes - 1), logits


def nll(labels: np.ndarray, logits: np.ndarray, temperature: float) -> float:
    return float(-log_softmax(logits.astype(float) / temperature, axis=1)[np.arange(len(labels)), labels].mean())


def by_scipy(labels: np.ndarray, logits: np.ndarray) -> float:
    span = (np.log(COLDEST), np.log(HOTTEST))
    found = minimize_scalar(
        lambda x: nll(labels, logits, np.exp(x)), bounds=span, method="bounded", options={"xatol": 1e-10}
    )
    return float(np.exp(found.x))


@pytest.mark.parametrize("true_temperature", [0.3, 1.0, 4.0])
def test_the_minimum_is_scipys(true_temperature: float) -> None:
    labels, logits = drawn(700, 5, true_temperature)
    assert fit(labels, logits) == pytest.approx(by_scipy(labels, logits), rel=1e-5)
    assert fit(labels, logits, start=9.0) == pytest.approx(fit(labels, logits), rel=1e-8)
    assert fit(labels, logits) == pytest.approx(true_temperature, rel=0.2)


def test_every_fold_is_measured_with_the_temperature_of_the_others() -> None:
    labels, logits = drawn(203, 4, 2.5)
    order = np.random.default_rng(1).permutation(len(labels))
    found = cross_fitted(labels, logits, order, bins=10)
    probabilities = np.empty(logits.shape)
    for fold in range(FOLDS):
        inside = order % FOLDS == fold  # of a permutation, the ranks
        probabilities[inside] = softmax(
            logits[inside].astype(float) / by_scipy(labels[~inside], logits[~inside]), axis=1
        )
    assert found.value == pytest.approx(by_scipy(labels, logits), rel=1e-5)
    assert found.nll == pytest.approx(log_loss(labels, probabilities), rel=1e-6)
    flattering = log_loss(labels, softmax(logits.astype(float) / found.value, axis=1))
    assert found.nll > flattering
    again = summarise("abcd", labels, np.log(probabilities), bins=10)
    assert found.ece == pytest.approx(again.ece, rel=1e-6)
    before = summarise("abcd", labels, logits, bins=10)
    assert found.nll < before.nll
    assert found.ece < before.ece
    assert (found.bounded, found.folds, found.reason) == (False, FOLDS, None)


def test_folds_follow_the_keys_and_not_the_order_of_rows() -> None:
    labels, logits = drawn(101, 3, 2.0)
    order = np.random.default_rng(1).integers(0, 2**63, len(labels)).astype(np.uint64)
    turn = np.random.default_rng(2).permutation(len(labels))
    one, other = cross_fitted(labels, logits, order), cross_fitted(labels[turn], logits[turn], order[turn])
    assert one.nll == pytest.approx(other.nll, rel=1e-9)
    assert one.ece == pytest.approx(other.ece, rel=1e-9)


def test_a_model_that_is_always_right_or_always_wrong_stops_at_a_bound() -> None:
    labels = np.arange(40) % 3
    right = 5 * np.eye(3, dtype=np.float32)[labels]
    found = cross_fitted(labels, right, np.arange(40))
    assert (found.value, found.bounded) == (COLDEST, True)
    assert found.nll == pytest.approx(0, abs=1e-12)
    wrong = cross_fitted(labels, -right, np.arange(40))
    assert (wrong.value, wrong.bounded) == (HOTTEST, True)
    constant = cross_fitted(labels, np.zeros((40, 3), np.float32), np.arange(40))
    assert constant.nll == pytest.approx(np.log(3))


def test_too_little_to_go_by_gives_a_reason() -> None:
    labels, logits = drawn(60, 3, 1.0)
    few = cross_fitted(labels[: FEWEST - 1], logits[: FEWEST - 1], np.arange(FEWEST - 1))
    assert (few.value, few.nll, few.ece, few.reason) == (None, None, None, "19 evaluation labels, at least 20")
    one = cross_fitted(np.ones(60, int), logits, np.arange(60))
    assert (one.value, one.reason) == (None, "the evaluation labels are all of one class")
    assert cross_fitted(labels[:FEWEST], logits[:FEWEST], np.arange(FEWEST)).reason is None


def test_labels_of_a_class_that_the_model_does_not_know_do_not_count_for_it() -> None:
    labels, logits = drawn(80, 3, 2.0)
    grown = np.pad(logits, ((0, 0), (0, 1)), constant_values=-np.inf)
    some = labels.copy()
    some[:5] = 3
    found = cross_fitted(some, grown, np.arange(80))
    assert found.value == pytest.approx(fit(labels[5:], logits[5:]), rel=1e-8)
    assert found.nll == np.inf
    assert 0 <= found.ece <= 1
    same = cross_fitted(labels, grown, np.arange(80))
    assert same == cross_fitted(labels, logits, np.arange(80))
    unknown = np.where(np.arange(80) < 70, 3, labels)
    reason = "10 evaluation labels of classes that the model knows, at least 20"
    assert cross_fitted(unknown, grown, np.arange(80)).reason == reason


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), classes=st.integers(2, 6), size=st.floats(1e-3, 1e3))
def test_no_other_temperature_within_the_bounds_is_better(seed: int, classes: int, size: float) -> None:
    labels, logits = drawn(30, classes, 1.0, seed)
    logits = (logits * size).astype(np.float32)
    value = fit(labels, logits)
    assert COLDEST <= value <= HOTTEST
    least = nll(labels, logits, value)
    for other in (COLDEST, 0.5, 1.0, 3.0, HOTTEST, value * 1.01, value / 1.01):
        if COLDEST <= other <= HOTTEST:
            assert least <= nll(labels, logits, other) + 1e-9 * max(1, least)


def test_probabilities_at_a_temperature() -> None:
    _, logits = drawn(7, 4, 1.0)
    assert scaled(logits, 2.0) == pytest.approx(softmax(logits.astype(float) / 2.0, axis=1))
