"""Δ, what a label is worth by the theory: how the columns of a score table make it. Never imports torch.

Δ(u | S) = ‖g_u‖² + γ · ⟨g_u, G_S⟩ with pseudo-label gradients g_u and the labeled set's summed gradient G_S (Wang et
al., "Deep Active Learning by Leveraging Training Dynamics", NeurIPS 2022, Eq. 12 and 15). γ = 0 is the squared norm
alone, γ = inf the interaction alone.
"""

from __future__ import annotations

import math

import numpy as np

from dalcli.scores.columns import Floats


def delta_columns(gamma: float) -> tuple[str, ...]:
    """The score-table columns that Δ with ``gamma`` in [0, inf] is made of."""
    if gamma == 0:
        return ("grad_sq_norm",)
    return ("grad_inner",) if math.isinf(gamma) else ("grad_sq_norm", "grad_inner")


def delta(sq_norm: Floats | None, inner: Floats | None, gamma: float) -> Floats:
    """Δ (n,) in float64 from ‖g‖² (n,) and ⟨g, G_S⟩ (n,), of which :func:`delta_columns` says what may be None.

    NaN and inf, which a diverged model has, stay what they are, and never warn.
    """
    if gamma == 0 or math.isinf(gamma):
        alone = sq_norm if gamma == 0 else inner
        assert alone is not None
        return np.asarray(alone, np.float64)
    assert sq_norm is not None
    assert inner is not None
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(sq_norm + gamma * inner, np.float64)
