"""Active against control labels: equally many of each, and how far the difference may be from the true one.

Both sides share what there was before the strategy had a say: the *common* labels, of a cold start or given with the
images. Beside them, m active or m control labels are trained on, m being how many the smaller arm has; of the larger
arm, as many random subsets as there are repeats. The gain is the difference of the mean accuracies.

The interval is a percentile bootstrap of two sources of chance, added up:

- *Which evaluation examples there are*: they are drawn again with replacement.
- *Which labels there are*: of each arm, models are trained on random halves of m labels. The accuracy of models
  on s of M labels, drawn without replacement, varies by σ² (1/s − 1/M) if each label contributes by itself; the mean
  over R subsets of m labels by σ² (1/M + (1/m − 1/M)/R) between one set of M labels and the next. So the deviations are
  scaled by the root of that ratio, which for s = m/2 and M = m is 1 (the delete-half jackknife: Shao and Wu, *A general
  theory for jackknife variance estimation*, Annals of Statistics 1989). On half the labels accuracy varies more, if
  anything, than that says: intervals are rather too wide.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dalcli.data.pixels import IntArray
from dalcli.evaluation.intervals import Interval

FEWEST = 30
"""Labels of either arm below which nothing is compared."""
DRAWS = 2000
_AT_ONCE = 1 << 18  # numbers

Judge = Callable[[IntArray], NDArray[np.bool_]]
"""Trains on labels (by row) and says which evaluation examples (n,) the model gets right."""


@dataclass(frozen=True)
class Gain:
    """The accuracy that choosing gained over drawing at random, with ``compared`` labels of either kind.

    ``interval`` is of ``gain``, which is ``active_accuracy`` − ``control_accuracy`` on ``examples`` examples.
    """

    compared: int
    active_accuracy: float
    control_accuracy: float
    gain: float
    interval: Interval
    examples: int


@dataclass(frozen=True, eq=False)
class Arms:
    """Rows of the labels that every model is trained on (``common``), and of those that are compared."""

    common: IntArray
    active: IntArray
    control: IntArray

    @property
    def compared(self) -> int:
        """m: of either arm."""
        return min(len(self.active), len(self.control))


def trainings(arms: Arms, repeats: int, exact: bool) -> int:
    """How often :func:`compare` trains."""
    return sum(_wholes(len(arm), arms.compared, repeats, exact) + repeats for arm in (arms.active, arms.control))


def compare(
    arms: Arms, judge: Judge, repeats: int, random: np.random.Generator, level: float = 0.95, exact: bool = True
) -> Gain:
    """Train on subsets of either arm and compare; ``repeats`` ≥ 2 subsets of each kind.

    ``exact``: the same labels always give the same model, so that there is no use in training on all of an arm again.

    Raises:
        ValueError: an arm has fewer than two labels.
    """
    if arms.compared < 2 or repeats < 2:
        raise ValueError(f"nothing to compare: {arms.compared} labels, {repeats} repeats")
    active = _Side.of(arms.active, arms, judge, repeats, random, exact)
    control = _Side.of(arms.control, arms, judge, repeats, random, exact)
    difference = active.correct - control.correct
    gain = float(difference.mean())
    examples = len(difference)
    noise = _resampled_means(difference, random) - gain + active.drawn(random) - control.drawn(random)
    low, high = np.quantile(gain + noise, [(1 - level) / 2, (1 + level) / 2])
    return Gain(
        compared=arms.compared,
        active_accuracy=float(active.correct.mean()),
        control_accuracy=float(control.correct.mean()),
        gain=gain,
        interval=Interval(max(-1.0, float(low)), min(1.0, float(high)), level),
        examples=examples,
    )


@dataclass(frozen=True, eq=False)
class _Side:
    """One arm: how often each example was right (n,), and scaled deviations of accuracy between sets of labels (R,)."""

    correct: NDArray[np.float64]
    deviations: NDArray[np.float64]

    @classmethod
    def of(
        cls, labels: IntArray, arms: Arms, judge: Judge, repeats: int, random: np.random.Generator, exact: bool
    ) -> _Side:
        total, m, half = len(labels), arms.compared, arms.compared // 2

        def judged(size: int) -> NDArray[np.float64]:
            chosen = random.choice(labels, size, replace=False) if size < total else labels
            return judge(np.concatenate([arms.common, chosen])).astype(np.float64)

        wholes = _wholes(total, m, repeats, exact)
        correct = np.mean([judged(m) for _ in range(wholes)], axis=0)
        halves = np.array([judged(half).mean() for _ in range(repeats)])
        wanted = 1 / total + (1 / m - 1 / total) / wholes
        scale = np.sqrt(wanted / (1 / half - 1 / total) * repeats / (repeats - 1))
        return cls(correct, (halves - halves.mean()) * scale)

    def drawn(self, random: np.random.Generator) -> NDArray[np.float64]:
        """(DRAWS,) deviations at random."""
        return self.deviations[random.integers(0, len(self.deviations), DRAWS)]


def _resampled_means(values: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    """(DRAWS,) means of the values drawn again with replacement."""
    n = len(values)
    step = max(1, _AT_ONCE // n)
    parts = [min(step, DRAWS - start) for start in range(0, DRAWS, step)]
    return np.concatenate([values[random.integers(0, n, (part, n))].mean(axis=1) for part in parts])


def _wholes(total: int, m: int, repeats: int, exact: bool) -> int:
    """Trainings on m of ``total`` labels: one is enough where that is all of them and training is exact."""
    return 1 if exact and total == m else repeats
