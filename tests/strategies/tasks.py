"""Tasks for pickers, of points that are written down."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dalcli.strategies.diverse import PickTask
from dalcli.strategies.points import Points, from_factors


def plain(matrix: np.ndarray) -> Points:
    """Points of one factor."""
    return from_factors([np.array(matrix, np.float32)], [0.0])[0]


def task(
    matrix: np.ndarray,
    size: int,
    known: Sequence[np.ndarray] = (),
    values: np.ndarray | None = None,
    seed: int = 0,
) -> PickTask:
    """``size`` of the rows of ``matrix``, apart from ``known`` matrices."""
    return PickTask(
        plain(matrix), size, values, lambda: iter([plain(part) for part in known]), np.random.default_rng(seed)
    )


def clustered(count: int, width: int = 3, clusters: int = 6, seed: int = 0) -> np.ndarray:
    """Points around a few centres: distances of very different sizes."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((clusters, width)) * 10
    return centres[rng.integers(0, clusters, count)] + rng.standard_normal((count, width))
