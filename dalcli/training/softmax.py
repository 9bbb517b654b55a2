"""Softmax regression with an L2 penalty on features: the head of a frozen network, solved exactly.

With features h̃ = (h, 1) and weights W (K, d+1), the last column the bias, the objective is

    f(W) = Σ_i ω_i ℓ(W h̃_i, y_i) / Σ_i ω_i + λ ‖W‖²

The bias is penalised, too. Without that, adding one number to the biases of all classes changes nothing (a flat
direction), and that of a class without labels has no minimum at all; with it f is 2λ-strongly convex: there is one
answer, whatever the start, and ‖W − W*‖ ≤ ‖∇f(W)‖ / 2λ. At the answer, with all ω equal, Σ_i (p_i − e_{y_i}) ⊗ h̃_i =
−2nλW, and the weights sum to zero over the classes.

How: W* lies in the span of the h̃_i (representer theorem), so fewer samples than features make a smaller problem of
the same answer. In the eigenbasis of the second moment Σ ω h̃h̃ᵀ, with direction j scaled by (s_j / K + 2λ)^-½, the
curvature at W = 0 is that of a ball, and L-BFGS needs a few dozen evaluations. Both are rotations and a scaling of the
problem, computed in float64: they cost no accuracy, and in these coordinates features of any size have products of
moderate size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from dalcli.training.lbfgs import Minimum, minimise

TOLERANCE = 1e-6
MAX_ITERATIONS = 5000  # standardised features need some dozens, unscaled ones with contradicting labels up to 2,000
AT_ONCE = 4096  # rows in float64 at once


@dataclass(frozen=True)
class Solution:
    """The head that was found.

    Attributes:
        weights: (K, d) float64; ``bias`` (K,) float64.
        gradient_norm: ‖∇f‖ there, as a fraction of √(1 − 1/K) · mean ‖h̃‖: the mean length of one sample's gradient
            for W = 0. No cancellation makes that small, and it scales as the features do.
        iterations: steps that were taken.
        converged: whether ``gradient_norm`` is within the tolerance.
        loss: the objective there, with the penalty.
    """

    weights: Tensor
    bias: Tensor
    gradient_norm: float
    iterations: int
    converged: bool
    loss: float


def solve(
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    penalty: float,
    *,
    weights: Tensor | None = None,
    start: Tensor | None = None,
    tolerance: float = TOLERANCE,
    max_iterations: int = MAX_ITERATIONS,
) -> Solution:
    """The weights that minimise the objective above; the same bits every time on one machine.

    Args:
        features: (n, d) float32 or float64, finite, n ≥ 1; computed with in float64, on the processor.
        labels: (n,) integers in 0 … ``num_classes`` − 1. A class without labels gets weights that say so.
        penalty: λ > 0.
        weights: ω (n,), not negative and not all zero; only their ratios count. None: all equal.
        start: (K, d+1), e.g. the previous round's; left aside where zero weights are better. It saves time and
            changes the answer within the tolerance only.
        tolerance: of :attr:`Solution.gradient_norm`.

    Raises:
        ValueError: an argument is not as said above.
    """
    weights = checked(features, labels, num_classes, penalty, weights)
    features, labels, weights = _counted(features, labels, weights)
    space = Space.of(features, weights)
    problem = Problem(space, Samples.of(space.rows, labels, weights), num_classes, penalty)
    found = problem.solve(problem.start(start), tolerance, max_iterations)
    whole = problem.whole(found.point)
    norm = problem.relative(found.gradient)
    return Solution(
        whole[:, :-1].contiguous(), whole[:, -1].clone(), norm, found.iterations, norm <= tolerance, found.loss
    )


def class_weights(labels: Tensor, num_classes: int, mode: Literal["balanced", "none"]) -> Tensor:
    """What a label of each class counts, (K,) float64: 1, or n / (classes with labels × n_c), which averages to 1.

    ``class_weights(labels, K, mode)[labels]`` is what :func:`solve` takes. A class without labels gets 1.
    """
    result = torch.ones(num_classes, dtype=torch.float64)
    if mode == "none":
        return result
    counts = torch.bincount(labels.long(), minlength=num_classes)
    present = counts > 0
    result[present] = len(labels) / (int(present.sum()) * counts[present].double())
    return result


def checked(features: Tensor, labels: Tensor, num_classes: int, penalty: float, weights: Tensor | None) -> Tensor:
    """The weights, (n,) float64 with sum 1, once every argument is as :func:`solve` says.

    Raises:
        ValueError: one is not.
    """
    n = len(labels)
    if features.ndim != 2 or labels.shape != (len(features),) or n == 0:
        raise ValueError(
            f"expected features (n, d) and labels (n,), got {tuple(features.shape)}, {tuple(labels.shape)}"
        )
    if not bool(torch.isfinite(features).all()):
        raise ValueError("features must be finite")
    if int(labels.min()) < 0 or int(labels.max()) >= num_classes:
        raise ValueError(f"labels must be in 0 … {num_classes - 1}")
    if not 0 < penalty < math.inf:
        raise ValueError("the penalty must be positive")
    if weights is None:
        return torch.full((n,), 1 / n, dtype=torch.float64)
    found = weights.detach().double().cpu()
    if found.shape != (n,) or not bool((torch.isfinite(found) & (found >= 0)).all()) or not bool(found.any()):
        raise ValueError("weights (n,) must be finite, not negative and not all zero")
    found = found / found.max()
    return found / found.sum()


def _counted(features: Tensor, labels: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The samples that count for anything, on the processor."""
    features, labels = features.detach().cpu(), labels.detach().cpu().long()
    counts = weights > 0
    return (features, labels, weights) if bool(counts.all()) else (features[counts], labels[counts], weights[counts])


@dataclass(frozen=True)
class Space:
    """The samples in the eigenbasis of their second moment, r = min(n, d+1) directions, in units of ``unit``.

    Attributes:
        rows: (n, r) float64, h̃ in the basis.
        basis: (d+1, r) float64, orthonormal columns that span all h̃.
        moments: (r,) float64, eigenvalues of Σ ω h̃h̃ᵀ, none below what they are rounded to.
        unit: the largest absolute value in h̃, so that no square overflows.
        length: Σ ω ‖h̃‖.
    """

    rows: Tensor
    basis: Tensor
    moments: Tensor
    unit: float
    length: float

    @classmethod
    def of(cls, features: Tensor, weights: Tensor) -> Space:
        """Features (n, d) and weights (n,) float64, with sum 1."""
        n, d = features.shape
        unit = max(1.0, float(features.abs().max())) if d else 1.0
        if n <= d:
            # Householder vectors are orthonormal whatever the rank, so that nothing need be cut off.
            basis, triangle = torch.linalg.qr(_appended(features, unit).T)
            rows = triangle.T.contiguous()
            moments, turn = torch.linalg.eigh((rows * weights[:, None]).T @ rows)
            rows, basis = rows @ turn, basis @ turn
        else:
            moment = torch.zeros(d + 1, d + 1, dtype=torch.float64)
            for part in _parts(n):
                some = _appended(features[part], unit)
                moment += (some * weights[part, None]).T @ some
            moments, basis = torch.linalg.eigh(moment)
            rows = torch.empty(n, d + 1, dtype=torch.float64)
            for part in _parts(n):
                rows[part] = _appended(features[part], unit) @ basis
        # Rounding errors in directions that are not there must not be scaled up; the scale changes no answer.
        least = torch.finfo(torch.float64).eps * float(moments.max())
        moments = moments.clamp(min=max(least, torch.finfo(torch.float64).tiny))
        length = float(torch.dot(weights, torch.linalg.vector_norm(rows, dim=1)))
        return cls(rows, basis, moments, unit, length)


def _parts(n: int) -> list[slice]:
    return [slice(start, start + AT_ONCE) for start in range(0, n, AT_ONCE)]


def _appended(features: Tensor, unit: float) -> Tensor:
    """h̃ = (h, 1) / unit (n, d+1) float64."""
    return functional.pad(features.double(), (0, 1), value=1.0).div_(unit)


@dataclass(frozen=True)
class Samples:
    """Some samples of a space: ``rows`` (n, r), ``labels`` (n,) int64 and ``weights`` (n,) that sum to 1 (or are 0).

    In float32 they take half the time, for answers that need not be exact.
    """

    rows: Tensor
    labels: Tensor
    weights: Tensor

    @classmethod
    def of(cls, rows: Tensor, labels: Tensor, weights: Tensor, dtype: torch.dtype = torch.float64) -> Samples:
        """Those of ``rows`` in ``dtype``; weights (n,) need not sum to 1."""
        total = weights.sum()
        return cls(rows.to(dtype), labels, (weights / total if bool(total > 0) else weights).to(dtype))

    def logits(self, scaled: Tensor) -> Tensor:
        """Their logits (n, K) for weights (r, K) in the basis, per unit."""
        return self.rows @ scaled


class Problem:
    """One penalty on samples of a space: a function of B, flat (r·K,), in the precision of the samples.

    W = (basis · scale · B)ᵀ / unit; in these coordinates the curvature at zero is 1.
    """

    def __init__(self, space: Space, samples: Samples, num_classes: int, penalty: float) -> None:
        self.num_classes, self._space, self._samples = num_classes, space, samples
        # In units of the space: λ / unit² might be 0, so roots are taken before.
        root = torch.tensor(math.sqrt(penalty) / space.unit, dtype=torch.float64)
        self._scale = 1 / torch.hypot(torch.sqrt(space.moments / num_classes), math.sqrt(2) * root)[:, None]
        self._own_scale = self._scale.to(samples.rows.dtype)
        self._ridge = ((root * self._scale) ** 2).to(samples.rows.dtype)
        self._every = torch.arange(len(samples.labels))

    @property
    def zero(self) -> Tensor:
        """Zero weights, flat (r·K,)."""
        return self._ridge.new_zeros(len(self._scale) * self.num_classes)

    def __call__(self, flat: Tensor) -> tuple[float, Tensor]:
        """The objective at B, flat (r·K,), and its gradient."""
        point, samples = flat.view(-1, self.num_classes), self._samples
        logs = functional.log_softmax(samples.logits(point * self._own_scale), 1)
        loss = -_total(logs[self._every, samples.labels] * samples.weights)
        residuals = logs.exp_()
        residuals[self._every, samples.labels] -= 1
        residuals *= samples.weights[:, None]
        pulled = self._ridge * point
        loss += _total(pulled * point)
        gradient = (samples.rows.T @ residuals).mul_(self._own_scale).add_(pulled, alpha=2)
        return loss, gradient.view(-1)

    def relative(self, gradient: Tensor) -> float:
        """The length of a gradient, flat (r·K,), as :attr:`Solution.gradient_norm` has it."""
        own = (1 - 1 / self.num_classes) ** 0.5 * self._space.length
        norm = self._norm(gradient)
        return norm / own if own else norm

    def solve(self, start: Tensor, tolerance: float, max_iterations: int) -> Minimum:
        """The minimum, from ``start``, flat (r·K,)."""
        return minimise(self, start, lambda _, gradient: self.relative(gradient) <= tolerance, max_iterations)

    def roughly(self, start: Tensor, share: float, max_iterations: int) -> Minimum:
        """Weights where the pull of the samples and that of the penalty, 2λW, differ by that share of the latter.

        Where both are next to nothing, that is enough, too.
        """

        def reached(point: Tensor, gradient: Tensor) -> bool:
            pull = 2 * (self._ridge * point.view(-1, self.num_classes)).view(-1)
            return self._norm(gradient) <= share * self._norm(pull) or self.relative(gradient) <= TOLERANCE

        return minimise(self, start, reached, max_iterations)

    def start(self, whole: Tensor | None) -> Tensor:
        """Where to begin: at the weights ``whole`` (K, d+1) if they are better than none."""
        if whole is None:
            return self.zero
        expected = self.num_classes, len(self._space.basis)
        if whole.shape != expected:
            raise ValueError(f"expected a start {expected}, got {tuple(whole.shape)}")
        there = self._space.basis.T @ whole.detach().double().cpu().T * self._space.unit
        # What all classes share changes no probability and is only penalised.
        found = ((there - there.mean(1, keepdim=True)) / self._scale).to(self._ridge.dtype).reshape(-1)
        worth = self(found)[0] < math.log(self.num_classes)  # what zero weights have; not if it is not finite
        return found if worth else self.zero

    def carried(self, flat: Tensor, other: Problem) -> Tensor:
        """The same weights in the coordinates of ``other``, a problem in the same space."""
        ratio = (self._scale / other._scale).to(flat.dtype)
        return (flat.view(-1, self.num_classes) * ratio).view(-1)

    def whole(self, flat: Tensor) -> Tensor:
        """W (K, d+1) float64 for B, flat (r·K,)."""
        scaled = flat.view(-1, self.num_classes).double() * self._scale
        return (self._space.basis @ scaled).T / self._space.unit

    def losses(self, flat: Tensor, samples: Samples) -> Tensor:
        """The cross-entropy (n,) float64 of any samples of the space for B, flat (r·K,)."""
        logits = samples.logits(flat.view(-1, self.num_classes) * self._own_scale)
        return functional.cross_entropy(logits, samples.labels, reduction="none").double()

    def _norm(self, gradient: Tensor) -> float:
        """The length of a gradient, flat (r·K,), in the coordinates of W, in units of the space."""
        # The basis is orthonormal, so lengths are the same there.
        there = gradient.view(-1, self.num_classes) / self._own_scale
        return float(torch.linalg.vector_norm(there))


def _total(values: Tensor) -> float:
    return float(values.sum(dtype=torch.float64))
