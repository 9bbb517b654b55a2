"""Uniform choice: the baseline that every other strategy has to beat, and the usual cold start.

A keyed hash of the content decides, so a sample's place does not depend on what else is in the pool: uniform without
replacement, and the same for the same seed whatever the order. Use it while there is no model, and as control arm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dalcli.strategies.base import Request, Selection
from dalcli.strategies.selection import Best


@dataclass(frozen=True)
class Random:
    """Needs no score table; its selections have no values."""

    columns: tuple[str, ...] = ()

    def select(self, request: Request) -> Selection:
        best = Best(request)
        best.offer(request.eligible.digests, np.zeros(len(request.eligible)))
        return Selection(best.selection().digests)
