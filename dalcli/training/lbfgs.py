"""L-BFGS (Liu & Nocedal 1989) for smooth, strictly convex functions of torch tensors, with torch's threads.

The function should come in coordinates in which its curvature is near 1 in every direction: the first step is that of
gradient descent, of length 1. The same arguments give the same bits on one machine with one number of threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Objective = Callable[[Tensor], tuple[float, Tensor]]
"""A point (m,) to the value there and the gradient (m,)."""

PAIRS = 40  # steps remembered: more save evaluations where the curvature is far from 1
LEAST_PAIRS = 10
REMEMBERED = 2**20  # numbers, before it is fewer steps than PAIRS
SUFFICIENT = 1e-4  # Armijo: of the decrease that the slope promises
MOST_SLOPE = 0.8  # approximate Wolfe: of the slope at the start of the step, at its end, uphill
SHORTEST = 2.0**-40
IDLE = 30  # steps that neither lower the value beyond rounding nor the gradient below its least


@dataclass(frozen=True)
class Minimum:
    """Where the search ended: ``point`` and ``gradient`` (m,), the value ``loss``, and the steps it took."""

    point: Tensor
    loss: float
    gradient: Tensor
    iterations: int


@dataclass(frozen=True)
class _Pair:
    """A step and how the gradient changed over it."""

    step: Tensor
    change: Tensor
    product: float  # <step, change>
    square: float  # <change, change>

    @property
    def sound(self) -> bool:
        """Whether it tells of a curvature and not of rounding errors."""
        return self.product > torch.finfo(self.step.dtype).eps * self.square > 0


def minimise(
    objective: Objective, start: Tensor, reached: Callable[[Tensor, Tensor], bool], max_iterations: int
) -> Minimum:
    """Follow ``objective`` down from ``start`` (m,) until ``reached`` says so of a point and the gradient there.

    Ends before that after ``max_iterations`` steps, or where rounding errors leave nothing to gain: the value never
    rises by more than they do.
    """
    point = start
    loss, gradient = objective(point)
    pairs: deque[_Pair] = deque(maxlen=max(LEAST_PAIRS, min(PAIRS, REMEMBERED // max(1, len(start)))))
    iterations, idle, least = 0, 0, _dot(gradient, gradient)
    while iterations < max_iterations and idle < IDLE and not reached(point, gradient):
        found = _step(objective, point, loss, gradient, _direction(gradient, pairs))
        if found is None and pairs:
            pairs.clear()  # a direction that rounding has spoiled: start anew from the gradient
            continue
        if found is None:
            break
        step, new_loss, new = found
        size = _dot(new, new)
        idle = 0 if size < least or new_loss < loss - _rounding(loss, step) else idle + 1
        loss, least = new_loss, min(least, size)
        change = new - gradient
        pair = _Pair(step, change, _dot(step, change), _dot(change, change))
        if pair.sound:
            pairs.append(pair)
        point, gradient = point + step, new
        iterations += 1
    return Minimum(point, loss, gradient, iterations)


def _direction(gradient: Tensor, pairs: deque[_Pair]) -> Tensor:
    """Minus the gradient times the inverse curvature that the last steps tell of: the two-loop recursion."""
    direction = -gradient
    shares = []
    for pair in reversed(pairs):
        share = _dot(pair.step, direction) / pair.product
        direction.sub_(pair.change, alpha=share)
        shares.append(share)
    if pairs:
        direction.mul_(pairs[-1].product / pairs[-1].square)
    for pair, share in zip(pairs, reversed(shares), strict=True):
        direction.add_(pair.step, alpha=share - _dot(pair.change, direction) / pair.product)
    return direction


def _step(
    objective: Objective, point: Tensor, loss: float, gradient: Tensor, direction: Tensor
) -> tuple[Tensor, float, Tensor] | None:
    """A step along ``direction`` that descends, with the value and gradient behind it; None where there is none.

    Near the minimum the decrease drowns in rounding errors while the slope is still known; there the slope decides
    (approximate Wolfe condition, Hager & Zhang 2005).
    """
    slope = _dot(gradient, direction)
    rounding = _rounding(loss, point)
    length = 1.0
    while slope < 0 and length >= SHORTEST:
        step = direction * length
        new_loss, new_gradient = objective(point + step)
        if new_loss <= loss + SUFFICIENT * length * slope:
            return step, new_loss, new_gradient
        if new_loss <= loss + rounding and _dot(new_gradient, direction) <= MOST_SLOPE * -slope:
            return step, new_loss, new_gradient
        # The minimum of the parabola through both values and the slope, kept within bounds.
        bend = new_loss - loss - length * slope
        length *= min(0.5, max(0.1, -slope * length / (2 * bend))) if bend > 0 else 0.5
    return None


def _rounding(loss: float, point: Tensor) -> float:
    """What a value computed in the precision of ``point`` may be off by."""
    return 10 * float(torch.finfo(point.dtype).eps) * abs(loss)


def _dot(one: Tensor, other: Tensor) -> float:
    return float(torch.dot(one, other))
