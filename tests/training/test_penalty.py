"""The choice of the penalty, against folds that are solved one by one and exactly."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from dalcli.training.penalty import DEFAULT, FOLDS, PENALTIES, Tried, _chosen, choose_penalty, folds
from dalcli.training.softmax import class_weights, solve


def keys_of(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, n, dtype=np.uint64)


def made(n: int, d: int, classes: int, noise: float) -> tuple[Tensor, Tensor]:
    """Standardised features in which few directions tell classes apart."""
    labels = torch.arange(n) % classes
    features = torch.randn(n, d)
    features[:, :classes] += functional.one_hot(labels, classes) * 3 / noise
    features -= features.mean(0)
    return features * d**0.25 / features.square().sum(1).mean().sqrt(), labels


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("n", "d"), [(80, 120), (120, 30)])
def test_the_log_losses_are_those_of_exact_folds(n: int, d: int, weighted: bool) -> None:
    features, labels = made(n, d, 4, noise=1.0)
    labels = torch.where(torch.rand(n) < 0.2, 0, labels)
    keys = keys_of(n)
    weights = class_weights(labels, 4, "balanced")[labels] if weighted else torch.ones(n, dtype=torch.float64)
    found = choose_penalty(features, labels, 4, keys, weights=weights if weighted else None)
    assert tuple(each.penalty for each in found.tried) == PENALTIES
    fold = folds(labels, keys)
    for each in found.tried:
        losses = torch.empty(n, dtype=torch.float64)
        for number in range(FOLDS):
            inside, outside = fold != number, fold == number
            head = solve(features[inside], labels[inside], 4, each.penalty, weights=weights[inside])
            logits = features[outside].double() @ head.weights.T + head.bias
            losses[outside] = functional.cross_entropy(logits, labels[outside], reduction="none")
        mean = float((weights * losses).sum() / weights.sum())
        error = math.sqrt(float((weights**2 * (losses - mean) ** 2).sum())) / float(weights.sum())
        assert each.log_loss == pytest.approx(mean, abs=0.2 * error)
        assert each.standard_error == pytest.approx(error, rel=0.1)


def test_folds_are_stratified_and_stay_with_their_samples() -> None:
    labels = torch.tensor([0] * 23 + [1] * 4 + [3] * 31)
    keys = keys_of(58)
    found = folds(labels, keys)
    for members in (labels == 0, labels == 1, labels == 3, labels >= 0):
        sizes = torch.bincount(found[members], minlength=FOLDS)
        assert int(sizes.max() - sizes.min()) <= 1
    order = torch.randperm(58)
    assert torch.equal(folds(labels[order], keys[order.numpy()]), found[order])
    assert not torch.equal(folds(labels, keys_of(58, seed=1)), found)


def test_the_order_of_the_samples_does_not_matter() -> None:
    features, labels = made(100, 40, 5, noise=1.0)
    keys, order = keys_of(100), torch.randperm(100)
    one = choose_penalty(features, labels, 5, keys)
    other = choose_penalty(features[order], labels[order], 5, keys[order.numpy()])
    assert (one.penalty, one.reason) == (other.penalty, other.reason)
    for mine, theirs in zip(one.tried, other.tried, strict=True):
        assert mine.log_loss == pytest.approx(theirs.log_loss, abs=0.2 * mine.standard_error)
    assert choose_penalty(features, labels, 5, keys) == one


@pytest.mark.parametrize(
    "labels", [[0] * 60, [0], list(range(4)) * 9, [0] * 5 + [1] * 5 + [2] * 19], ids=["one", "single", "few", "rare"]
)
def test_too_few_labels_leave_the_default(labels: list[int]) -> None:
    n = len(labels)
    found = choose_penalty(torch.randn(n, 6), torch.tensor(labels), 4, keys_of(n))
    assert (found.penalty, found.tried, found.reason) == (DEFAULT, (), "too few labels")


def test_labels_without_any_pattern_ask_for_more_penalty() -> None:
    features, labels = made(200, 300, 4, noise=math.inf)
    found = choose_penalty(features, labels, 4, keys_of(200))
    assert found.penalty > DEFAULT
    assert found.reason == "nearest to the default of those as good as the best"


def test_many_labels_with_a_clear_pattern_ask_for_less() -> None:
    features, labels = made(1000, 24, 8, noise=0.3)
    assert choose_penalty(features, labels, 8, keys_of(1000)).penalty < DEFAULT


def test_a_rare_class_that_a_fold_lacks_and_huge_features_stay_finite() -> None:
    features, labels = made(60, 20, 3, noise=1.0)
    labels[labels == 2] = 0
    labels[5] = 2
    for scale in (1.0, 1e30):
        found = choose_penalty(features * scale, labels, 3, keys_of(60))
        assert all(math.isfinite(each.log_loss) and math.isfinite(each.standard_error) for each in found.tried)
        assert len(found.tried) == len(PENALTIES)


@pytest.mark.parametrize(
    ("losses", "error", "expected"),
    [
        ([1, 1, 1, 1, 1, 1, 1], 0.0, 1e-3),
        ([9, 9, 1.09, 9, 9, 1, 9], 0.1, 1e-3),
        ([9, 9, 1.11, 9, 1.05, 1, 9], 0.1, 1e-2),
        ([1, 1.05, 1.2, 1.3, 1.4, 1.5, 1.6], 0.1, 3e-4),
        ([1, 1.5, 1.6, 1.7, 1.8, 1.9, 2], 0.1, 1e-4),
        ([3, 3, 3, 3, 3, 3, 1], 0.1, 1e-1),
    ],
)
def test_the_default_stays_unless_it_is_worse_by_a_standard_error(
    losses: list[float], error: float, expected: float
) -> None:
    tried = tuple(Tried(penalty, loss, error) for penalty, loss in zip(PENALTIES, losses, strict=True))
    assert _chosen(tried).penalty == expected


def test_wrong_arguments_are_refused() -> None:
    features, labels = made(20, 6, 2, noise=1.0)
    with pytest.raises(ValueError, match="expected 20 keys"):
        choose_penalty(features, labels, 2, keys_of(19))
    with pytest.raises(ValueError, match="labels must be"):
        choose_penalty(features, labels + 1, 2, keys_of(20))
