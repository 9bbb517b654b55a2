"""Δ from the columns of a score table."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dalcli.scores.delta import delta, delta_columns

SQ_NORM = np.array([4.0, 0.0, 1.0, math.nan, math.inf, 1e308, 5e-324])
INNER = np.array([-1.0, 3.0, math.nan, 1.0, -math.inf, 1e308, -0.0])


@pytest.mark.parametrize(
    ("gamma", "columns"),
    [
        (0.0, ("grad_sq_norm",)),
        (0.5, ("grad_sq_norm", "grad_inner")),
        (2.0, ("grad_sq_norm", "grad_inner")),
        (math.inf, ("grad_inner",)),
    ],
)
def test_what_gamma_leaves_out_need_not_be_there(gamma: float, columns: tuple[str, ...]) -> None:
    assert delta_columns(gamma) == columns
    there = [array if name in columns else None for name, array in (("grad_sq_norm", SQ_NORM), ("grad_inner", INNER))]
    np.testing.assert_array_equal(delta(*there, gamma), delta(SQ_NORM, INNER, gamma))


def test_values_of_a_diverged_model_stay_what_they_are_and_never_warn() -> None:
    np.testing.assert_array_equal(delta(SQ_NORM, INNER, 0.0), SQ_NORM)
    np.testing.assert_array_equal(delta(SQ_NORM, INNER, math.inf), INNER)
    with np.errstate(all="raise", under="ignore"):
        found = delta(SQ_NORM, INNER, 2.0)
    np.testing.assert_array_equal(found, [2.0, 6.0, math.nan, math.nan, math.nan, math.inf, 5e-324])


def test_single_precision_becomes_double() -> None:
    for gamma in (0.0, 2.0, math.inf):
        assert delta(np.ones(2, np.float32), np.ones(2, np.float32), gamma).dtype == np.float64
