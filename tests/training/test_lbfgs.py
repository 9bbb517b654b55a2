"""The minimiser on functions whose minimum is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dalcli.training.lbfgs import Objective, minimise


def small(bound: float):
    return lambda _, gradient: float(gradient.abs().max()) <= bound


def quadratic(curvatures: Tensor, target: Tensor) -> Objective:
    """Σ c (x − target)² / 2, turned so that no axis is special."""
    turn = torch.linalg.qr(torch.randn(len(target), len(target), dtype=torch.float64))[0]
    matrix = turn @ (curvatures[:, None] * turn.T)

    def objective(at: Tensor) -> tuple[float, Tensor]:
        gradient = matrix @ (at - target)
        return float(gradient @ (at - target)) / 2, gradient

    return objective


@pytest.mark.parametrize("largest", [1.0, 0.01, 500.0])  # 500: the first step goes far too far
def test_a_quadratic_has_its_minimum_where_it_was_put(largest: float) -> None:
    target = torch.randn(20, dtype=torch.float64)
    objective = quadratic(torch.linspace(largest / 50, largest, 20, dtype=torch.float64), target)
    found = minimise(objective, torch.zeros_like(target), small(1e-11 * largest), 200)
    torch.testing.assert_close(found.point, target, rtol=0, atol=1e-8)
    assert 1 < found.iterations < 80
    loss, gradient = objective(found.point)
    assert found.loss == pytest.approx(loss, abs=1e-15)
    torch.testing.assert_close(found.gradient, gradient, rtol=0, atol=1e-13 * largest)


def test_curvature_one_takes_one_step() -> None:
    target = torch.randn(9, dtype=torch.float64)
    found = minimise(quadratic(torch.ones(9, dtype=torch.float64), target), torch.zeros_like(target), small(1e-12), 50)
    assert found.iterations == 1


def test_the_value_never_rises_and_the_number_of_steps_is_kept_to() -> None:
    target = torch.randn(30, dtype=torch.float64)
    objective = quadratic(torch.logspace(-3, 3, 30, dtype=torch.float64), target)
    losses = [minimise(objective, torch.zeros_like(target), small(0), steps).loss for steps in range(25)]
    assert losses == sorted(losses, reverse=True)
    assert minimise(objective, torch.zeros_like(target), small(0), 7).iterations == 7


def test_it_ends_at_once_at_the_minimum_and_where_rounding_leaves_nothing_to_gain() -> None:
    target = torch.randn(5, dtype=torch.float64)
    objective = quadratic(torch.ones(5, dtype=torch.float64), target)
    assert minimise(objective, target, small(0), 50).iterations == 0

    def kinked(at: Tensor) -> tuple[float, Tensor]:
        """A slope that the values know nothing of."""
        return 1.0 + 1e3 * float(at.abs().sum()), torch.ones_like(at)

    found = minimise(kinked, torch.zeros(3, dtype=torch.float64), small(0), 50)
    assert (found.iterations, found.loss) == (0, 1.0)


def test_far_from_quadratic() -> None:
    """Σ log cosh(x − target): flat far out, where the steps must grow."""
    target = torch.linspace(-30, 30, 11, dtype=torch.float64)

    def objective(at: Tensor) -> tuple[float, Tensor]:
        gap = at - target
        return float((gap.abs() + torch.log1p(torch.exp(-2 * gap.abs()))).sum()), torch.tanh(gap)

    found = minimise(objective, torch.zeros_like(target), small(1e-10), 200)
    torch.testing.assert_close(found.point, target, rtol=0, atol=1e-9)
