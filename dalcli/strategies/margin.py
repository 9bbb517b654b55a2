"""Margin: the samples whose two likeliest classes are closest (Scheffer, Decomain & Wrobel, IDA 2001).

The strongest of the simple measures in many comparisons, and steady with many classes: unlikely classes do not count.
"""

from __future__ import annotations

from dataclasses import dataclass

from dalcli.scores.columns import Floats
from dalcli.scores.table import ScoreBlock
from dalcli.strategies.base import Request
from dalcli.strategies.doubt import doubt_and_second


@dataclass(frozen=True)
class Margin:
    """1 − (p₁ − p₂) for the largest and second largest probability, in [0, 1]; 0 for a single class."""

    columns: tuple[str, ...] = ("probabilities",)

    def values(self, block: ScoreBlock, request: Request) -> Floats:
        doubt, second = doubt_and_second(block["probabilities"])
        return doubt + second
