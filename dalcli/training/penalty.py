"""How strong the L2 penalty of a frozen network's head is: cross-validated on the labels there are.

The grid suits standardised features (centred, mean squared length √d): their kernel is about √d ≈ 20 … 50, so that
λ = 0.1 keeps the logits of hundreds of labels within a few units, and below 1e-4 separable labels are fitted with
certainty and the log loss only rises. On 3,409 clothing photographs (EfficientNet-Lite0, 10 classes) the log loss of
372 others was lowest at 1e-3 from 20 labels to 1,000, and at 3e-4 with all; from 1e-4 to 3e-3 the accuracy was within
2%. So 1e-3 is the default, and the labels have to speak against it. They have no say while they are few: a value that
jumps between rounds does more harm than one that is off.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dalcli.training.softmax import Problem, Samples, Space, checked

DEFAULT = 1e-3
PENALTIES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
FOLDS = 5
LEAST_PER_CLASS = 10  # labels, on the average of the classes that have any

_SHARE = 0.01  # moves a mean log loss by a fraction of its standard error
_MAX_ITERATIONS = 100
_EXTRAPOLATION = 0.9  # from one penalty to the next: of the change at the one before; halves the iterations


@dataclass(frozen=True)
class Tried:
    """One penalty: the mean log loss per label (nats) of labels that were held out, and its standard error."""

    penalty: float
    log_loss: float
    standard_error: float


@dataclass(frozen=True)
class PenaltyChoice:
    """The penalty λ, all that were tried in ascending order (none where labels are too few), and why this one."""

    penalty: float
    tried: tuple[Tried, ...]
    reason: str


def choose_penalty(
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    keys: NDArray[np.uint64],
    *,
    weights: Tensor | None = None,
) -> PenaltyChoice:
    """The penalty nearest to the default whose cross-validated log loss is within one standard error of the best.

    Five folds, stratified by class, in the order of ``keys`` within one: they depend on the labeled samples, not on
    their order. Features, labels and weights are as for :func:`~dalcli.training.softmax.solve`; weights count in the
    log loss, too. There is the default alone below ten labels a class on average (over those that have any), or
    without two classes.

    Args:
        keys: (n,), one a sample, from a seed and its digest: :func:`~dalcli.data.identity.tie_keys`.

    Raises:
        ValueError: an argument is not as said.
    """
    weights = checked(features, labels, num_classes, DEFAULT, weights)
    labels = labels.detach().cpu().long()
    if keys.shape != (len(labels),):
        raise ValueError(f"expected {len(labels)} keys, got {keys.shape}")
    present = len(torch.unique(labels))
    if present < 2 or len(labels) < LEAST_PER_CLASS * present:
        return PenaltyChoice(DEFAULT, (), "too few labels")
    space = Space.of(features.detach().cpu(), weights)
    losses = _held_out(space, labels, weights, num_classes, folds(labels, keys))
    return _chosen(tuple(_tried(penalty, own, weights) for penalty, own in zip(PENALTIES, losses, strict=True)))


def folds(labels: Tensor, keys: NDArray[np.uint64]) -> Tensor:
    """The fold (n,) int64 of each sample: of every class, and of all, as many in one as in another, or one more."""
    order = np.lexsort((keys, labels.numpy()))
    result = np.empty(len(order), np.int64)
    result[order] = np.arange(len(order)) % FOLDS
    return torch.from_numpy(result)


def _held_out(space: Space, labels: Tensor, weights: Tensor, num_classes: int, fold: Tensor) -> Tensor:
    """The log loss (penalties, n) float64 of every sample by weights that have not seen it."""
    result = torch.empty(len(PENALTIES), len(labels), dtype=torch.float64)
    for number in range(FOLDS):
        inside, outside = (
            Samples.of(space.rows[some], labels[some], weights[some], torch.float32)
            for some in (fold != number, fold == number)
        )
        path: list[tuple[Problem, Tensor]] = []
        for index in reversed(range(len(PENALTIES))):  # from the smooth to the rough, each from those before
            problem = Problem(space, inside, num_classes, PENALTIES[index])
            point = problem.roughly(_foreseen(problem, path), _SHARE, _MAX_ITERATIONS).point
            result[index, fold == number] = problem.losses(point, outside)
            path = [*path[-1:], (problem, point)]
    return result


def _foreseen(problem: Problem, path: list[tuple[Problem, Tensor]]) -> Tensor:
    """Where the last answers on the way to ``problem`` point to."""
    before = [earlier.carried(point, problem) for earlier, point in path]
    if len(before) < 2:
        return before[0] if before else problem.zero
    return before[1] + _EXTRAPOLATION * (before[1] - before[0])


def _tried(penalty: float, losses: Tensor, weights: Tensor) -> Tried:
    """Weighted mean of losses (n,) and its standard error; weights (n,) with sum 1."""
    mean = float(torch.dot(weights, losses))
    error = float(torch.linalg.vector_norm(weights * (losses - mean)))
    return Tried(penalty, mean, error)


def _chosen(tried: tuple[Tried, ...]) -> PenaltyChoice:
    best = min(tried, key=lambda each: each.log_loss)
    good = [each for each in tried if each.log_loss <= best.log_loss + best.standard_error]
    nearest = min(good, key=lambda each: (abs(math.log(each.penalty / DEFAULT)), each.log_loss))
    if nearest.penalty == DEFAULT:
        return PenaltyChoice(DEFAULT, tried, "the default is as good as the best")
    return PenaltyChoice(nearest.penalty, tried, "nearest to the default of those as good as the best")
