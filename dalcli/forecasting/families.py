"""The laws that a learning curve may follow, each as a ceiling less a falling shape: y(x) = a − b·g(x; θ).

x is labels divided by today's, so that one grid of θ serves every scale. For a fixed θ the law is linear in a and b,
which least squares finds in closed form (variable projection: Golub and Pereyra 1973); θ is searched on a grid, which
is fine enough: refined further, forecasts at twice the labels were no better. A new law is one entry in `FAMILIES` and
one test.

Sources: POW2–4, MMF4, EXP3, LOG2 as in Viering and Loog, *The Shape of Learning Curves* (2103.10948), PALM (2025).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from dalcli.forecasting.curves import Floats

Linear = Literal["ceiling", "one", "origin", "endless"]
"""What is free beside θ: `ceiling` a and b; `one` b alone, a = 1; `origin` a alone, b = a; `endless` a and b, where g
falls without end, so that a is no ceiling."""


@dataclass(frozen=True)
class Family:
    """One law.

    Attributes:
        name: As in the literature.
        shape: g(x; θ), falling in x. Takes x [..., p] and θ's parts, each broadcast against it.
        axes: For every part of θ the grid's values, ascending.
        linear: Which of a and b are free.
    """

    name: str
    shape: Callable[..., Floats]
    axes: tuple[Sequence[float], ...]
    linear: Linear

    @cached_property
    def grid(self) -> Floats:
        """All combinations of the axes' values. [nodes, parts]"""
        return np.array(list(itertools.product(*self.axes)), dtype=np.float64)

    def at(self, x: Floats, theta: Floats) -> Floats:
        """g at x [p] for every row of θ [..., parts]: [..., p]."""
        return self.shape(x, *(theta[..., part, None] for part in range(theta.shape[-1])))


def _power(x: Floats, c: Floats) -> Floats:
    return x**-c


def _shifted_power(x: Floats, c: Floats, d: Floats) -> Floats:
    # d is a lead that the curve had before its first label; g(1) = 1, so that b stays of order 1
    return ((x + d) / (1 + d)) ** -c


def _mmf(x: Floats, d: Floats, half: Floats) -> Floats:
    return 1 / (1 + (x / half) ** d)


def _exponential(x: Floats, c: Floats) -> Floats:
    return np.exp(-c * x)


def _logarithm(x: Floats, _: Floats) -> Floats:
    return -np.log(x) + 0 * _


def _palm(x: Floats, rate: Floats, alpha: Floats, beta: Floats) -> Floats:
    return np.exp(-rate * (x + alpha) ** beta)


def _steps(low: float, high: float, count: int) -> tuple[float, ...]:
    return tuple(np.geomspace(low, high, count).tolist())


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family("POW2", _power, (_steps(0.01, 3, 28),), "one"),
        Family("POW3", _power, (_steps(0.03, 4, 28),), "ceiling"),
        Family("POW4", _shifted_power, (_steps(0.05, 5, 14), _steps(0.003, 3, 8)), "ceiling"),
        Family("MMF4", _mmf, (_steps(0.1, 5, 16), _steps(0.003, 5, 13)), "ceiling"),
        Family("EXP3", _exponential, (_steps(0.2, 60, 28),), "ceiling"),
        Family("LOG2", _logarithm, ((1.0,),), "endless"),
        Family("PALM", _palm, (_steps(0.05, 8, 16), _steps(0.003, 1, 5), _steps(0.05, 1.5, 11)), "origin"),
    )
}
