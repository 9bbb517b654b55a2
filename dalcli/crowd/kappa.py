"""Agreement beyond chance: Cohen's kappa."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def agreement(one: Sequence[int], other: Sequence[int]) -> float | None:
    """Share of the answers that are the same; None without any."""
    return sum(a == b for a, b in zip(one, other, strict=True)) / len(one) if one else None


def kappa(one: Sequence[int], other: Sequence[int]) -> float | None:
    """(p − e) / (1 − e): p is the agreement, e what two who answer by their own habits alone would reach.

    1: always the same; 0: as by chance. None without answers, or where both always say one and the same class: chance
    alone explains that. (J. Cohen: A coefficient of agreement for nominal scales, 1960.)
    """
    observed = agreement(one, other)
    if observed is None:
        return None
    mine, theirs = Counter(one), Counter(other)
    same_by_chance = sum(count * theirs[answer] for answer, count in mine.items())
    everything = len(one) ** 2
    if same_by_chance == everything:
        return None
    expected = same_by_chance / everything
    return (observed - expected) / (1 - expected)
