"""What the uncertainty scores share: probabilities split into the largest and the rest."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def split_top(probabilities: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """``(doubt, rest)``: the summed probability of all classes but the likeliest (n,), and those classes' own (n, K).

    ``rest`` is ``probabilities`` (n, K) in float64 with the largest of each row set to 0. Near certainty, 1 − max p in
    float32 has lost all digits, while the small probabilities have kept theirs: scores are built from them. A NaN
    anywhere in a row makes its doubt NaN.
    """
    rest = probabilities.astype(np.float64)
    rows, top = np.arange(len(rest)), rest.argmax(axis=1)
    undefined = np.isnan(rest[rows, top])  # argmax finds a NaN first
    rest[rows, top] = 0.0
    return np.where(undefined, np.nan, rest.sum(axis=1)), rest
