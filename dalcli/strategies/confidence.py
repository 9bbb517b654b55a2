"""Least confidence: the samples whose likeliest class is least likely (Lewis & Gale, SIGIR 1994).

A plain and cheap uncertainty score; a good first choice with few classes and a reasonably calibrated model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dalcli.scores.table import ScoreBlock
from dalcli.strategies.base import Request
from dalcli.strategies.softmax import doubt_and_second


@dataclass(frozen=True)
class LeastConfidence:
    """1 − max p, in [0, 1 − 1/K]; 0 for a single class."""

    columns: tuple[str, ...] = ("probabilities",)

    def values(self, block: ScoreBlock, request: Request) -> NDArray[np.float64]:
        doubt, _ = doubt_and_second(block["probabilities"])
        return doubt
