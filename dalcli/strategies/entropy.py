"""Entropy: the samples whose predicted distribution is most spread out (Shannon entropy, as in Settles, 2009).

Counts doubt between all classes, where margin counts two: useful when many classes are confused at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dalcli.scores.columns import Floats
from dalcli.scores.table import ScoreBlock
from dalcli.strategies.base import Request
from dalcli.strategies.doubt import doubt_and_entropy


@dataclass(frozen=True)
class Entropy:
    """−Σ p log p in nats, in [0, log K], with 0 · log 0 = 0; 0 for a single class."""

    columns: tuple[str, ...] = ("probabilities",)

    def values(self, block: ScoreBlock, request: Request) -> Floats:
        doubt, others = doubt_and_entropy(block["probabilities"])
        # The largest p is 1 − doubt, whose own rounding in float32 would drown the entropy of confident samples.
        largest = 1.0 - doubt
        return others - largest * np.log1p(-np.minimum(doubt, 1.0 - 2.0**-53))
