"""Least confidence: the samples whose likeliest class is least likely (Lewis & Gale, SIGIR 1994).

A plain and cheap measure of uncertainty; a good first choice with few classes and a reasonably calibrated model.
"""

from __future__ import annotations

from dataclasses import dataclass

from dalcli.scores.columns import Floats
from dalcli.scores.table import ScoreBlock
from dalcli.strategies.base import Request
from dalcli.strategies.doubt import doubt_and_second


@dataclass(frozen=True)
class LeastConfidence:
    """1 − max p, in [0, 1 − 1/K]; 0 for a single class."""

    columns: tuple[str, ...] = ("probabilities",)

    def values(self, block: ScoreBlock, request: Request) -> Floats:
        doubt, _ = doubt_and_second(block["probabilities"])
        return doubt
