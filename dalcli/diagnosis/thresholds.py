"""What divides the answers of a diagnosis: the numbers of docs/diagnose.md, and nothing else.

Measured against here, put into words in :mod:`dalcli.diagnosis.findings`.
"""

from __future__ import annotations

GOOD_RATIO = (0.8, 1.25)
"""R in here: members explain their batch's effect to about a fifth."""

SMALL_GRADIENT = 0.1
"""Of a typical pool gradient, per labeled sample: at most so much is left of a converged one."""

CLEAR_P_VALUE, WEAK_P_VALUE = 0.01, 0.05
"""Up to the first, random sets do not lie as far apart; up to the second, few of them do."""

STRONG_TAU = 0.5
"""From here on two rankings agree, not only in their direction."""


def is_good_ratio(ratio: float) -> bool:
    """Whether R is within its bounds; NaN is not."""
    return GOOD_RATIO[0] <= ratio <= GOOD_RATIO[1]
