"""How far a measured point strays from what it measures.

Two different things. From round to round points stray around the curve that *this evaluation set* shows: models differ
by the chance of their training, and answer differently. That is seen in the points, as it is in public curves. And the
evaluation set is a draw: what it shows lies beside the truth, by the same in every round, for its examples are the
same ones. That is never seen in the points; statistics says how far it may be.
"""

from __future__ import annotations

import numpy as np

from dalcli.forecasting.curves import Floats, Measurements

_SUPPOSED_EXAMPLES = 3000.0
"""Size of an evaluation set that nothing is known of."""
_SUPPOSED_POINTS = 0.5
"""What is supposed of the noise weighs as much as so many points that were seen."""
_OWN = 0.5
"""Supposed share of a set's binomial variance that differs between rounds: models err on many of the same examples."""


def binomial(value: Floats, evaluated: Floats | float) -> Floats:
    """Variance of a share measured on so many examples, never 0: two hits and two misses are added (Agresti)."""
    share = (value * evaluated + 2) / (evaluated + 4)
    return np.asarray(share * (1 - share) / (evaluated + 4), dtype=np.float64)


def strayed(known: Measurements) -> float:
    """Variance of single points around a smooth curve, from how far each lies from the line through its neighbours.

    Robust: the median of squares, so that one broken round among many does not count; in units of the metric squared.
    """
    position = np.log(known.labels)
    left, here, right = position[:-2], position[1:-1], position[2:]
    share = (here - left) / (right - left)
    off = known.value[1:-1] - (1 - share) * known.value[:-2] - share * known.value[2:]
    squares = off**2 / (1 + share**2 + (1 - share) ** 2)
    # Between the median (× 2.2 for a normal law) and the mean: with two squares neither is worth much.
    return float(0.5 * np.mean(squares) + 0.5 * min(np.median(squares) * 2.2, np.max(squares)))


def supposed(known: Measurements) -> float:
    """Size of today's evaluation set, or what is supposed of it."""
    return float(known.evaluated[-1]) or _SUPPOSED_EXAMPLES


def variances(known: Measurements) -> Floats:
    """Variance of each measurement around the curve that today's evaluation set shows. [p]

    What points scatter, beside a weak guess; more for those that were measured on fewer of today's examples.
    """
    sized = bool(np.all(known.evaluated > 0))
    today = known.evaluated[-1] if sized else _SUPPOSED_EXAMPLES
    guessed = binomial(known.value, today) * (_OWN if sized else 1.0)
    fewer = np.maximum(binomial(known.value, known.evaluated) - binomial(known.value, today), 0) if sized else 0.0
    points = len(known.labels) - 2
    seen = max(strayed(known) - float(np.mean(fewer)), 0)
    expected = float(np.mean(guessed))
    pooled = (points * seen + _SUPPOSED_POINTS * expected) / (points + _SUPPOSED_POINTS)
    return np.asarray(guessed * (pooled / expected) + fewer, dtype=np.float64)


def explained(known: Measurements, noise: float) -> float:
    """How much of a measurement's ``noise`` (standard deviation) today's evaluation set accounts for; 0: unknown."""
    examples = float(known.evaluated[-1])
    return min(noise, float(np.sqrt(binomial(known.value[-1:], examples)[0]))) if examples > 0 else 0.0


def true_values(shown: Floats, examples: float, normal: Floats) -> Floats:
    """What is true where an evaluation set of so many examples shows a share, at levels of a normal law.

    Wilson's score interval (JASA 1927), of which each level is an end: so the middle half of the levels lies between
    the ends of his interval at 50%. Rises with both. Broadcasts.

    Args:
        shown: What an endless number of models like this would show on average on this set.
        examples: Its size.
        normal: Standard normal levels.
    """
    weight = normal**2 / examples
    reach = normal / (1 + weight) * np.sqrt(shown * (1 - shown) / examples + weight / (4 * examples))
    return np.asarray(np.clip((shown + weight / 2) / (1 + weight) + reach, 0, 1), dtype=np.float64)
