"""Is one version better than another? McNemar's exact test on the examples that both were measured on.

Two versions see the same evaluation images, and most of them both get right or both get wrong. Only the others tell
them apart: b that the newer one alone gets right, c that the older one alone does. Were the versions equally good, each
of those b + c would be heads or tails, so that

    p = min(1, 2 P(X ≤ min(b, c))),  X ~ Binomial(b + c, 1/2)

(McNemar, *Psychometrika* 1947). That sees far smaller differences than two intervals side by side do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dalcli.evaluation.outcomes import Outcomes

Verdict = Literal["better", "worse", "undecided"]


@dataclass(frozen=True)
class PairedTest:
    """Two versions on common examples.

    Attributes:
        version: the newer one; ``against`` the older one.
        examples: how many both were measured on.
        better: how many of those ``version`` alone gets right; ``worse`` how many ``against`` alone does.
        difference: accuracy of ``version`` minus that of ``against``, on the common examples.
        p_value: of the exact two-sided test; for one comparison, not for the best of many.
        verdict: "better" or "worse" where ``p_value`` is at most 1 − ``level``, else "undecided".
        level: of the decision.
    """

    version: str
    against: str
    examples: int
    better: int
    worse: int
    difference: float
    p_value: float
    verdict: Verdict
    level: float


def paired_test(version: str, newer: Outcomes, against: str, older: Outcomes, level: float) -> PairedTest | None:
    """Compare two versions' outcomes; None if they have no example in common.

    Where a label was corrected between the measurements, both are judged by the one that ``newer`` was.
    """
    common, here, there = np.intersect1d(newer.sample, older.sample, assume_unique=True, return_indices=True)
    if not len(common):
        return None
    truth = newer.label[here]
    right, was_right = newer.predicted[here] == truth, older.predicted[there] == truth
    better, worse = int((right & ~was_right).sum()), int((was_right & ~right).sum())
    p_value = mcnemar(better, worse)
    verdict: Verdict = "undecided"
    if p_value <= 1 - level:
        verdict = "better" if better > worse else "worse"
    difference = (better - worse) / len(common)
    return PairedTest(
        version=version,
        against=against,
        examples=len(common),
        better=better,
        worse=worse,
        difference=difference,
        p_value=p_value,
        verdict=verdict,
        level=level,
    )


def mcnemar(better: int, worse: int) -> float:
    """The exact two-sided p-value for ``better`` and ``worse`` ≥ 0 discordant examples; 1 where there are none."""
    fewer, total = min(better, worse), better + worse
    if 2 * fewer >= total:
        return 1.0
    # From the largest term down: each of the others is a known fraction, below 1, of the one before.
    largest = math.lgamma(total + 1) - math.lgamma(fewer + 1) - math.lgamma(total - fewer + 1) - total * math.log(2)
    term = tail = 1.0
    for k in range(fewer, 0, -1):
        term *= k / (total - k + 1)
        tail += term
        if term < 1e-17 * tail:
            break
    return min(1.0, 2 * math.exp(largest) * tail)
