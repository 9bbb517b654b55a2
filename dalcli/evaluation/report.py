"""The result of an evaluation, as people and scripts get it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dalcli.evaluation.intervals import Interval


@dataclass(frozen=True)
class ClassReport:
    """One class. None where undefined: precision if it was never predicted, recall without examples, f1 if neither."""

    name: str
    support: int
    predicted: int
    correct: int
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True)
class Average:
    """Precision, recall and F1 averaged over the classes for which each is defined; None if there is none."""

    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True)
class CalibrationBin:
    """Examples whose top-1 confidence is in (low, high]; their mean confidence and accuracy (None without examples)."""

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True, eq=False)
class EvaluationReport:
    """Everything measured about one model version on the evaluation set.

    Attributes:
        examples: number of evaluation examples n; ``correct`` of them were predicted right.
        accuracy: correct / n, with its Wilson interval ``interval``.
        nll: mean negative log-likelihood in nats; inf if a true class had probability 0.
        brier: mean over examples of Σ_k (p_k − [y = k])², in [0, 2].
        ece: expected calibration error over ``calibration``: Σ count/n · |accuracy − confidence|.
        macro, weighted: averages over classes, each counting the same or by its support.
        classes: one entry per class, in class order.
        confusion: (K, K) int64, rows are true classes, columns predictions.
    """

    examples: int
    correct: int
    accuracy: float
    interval: Interval
    nll: float
    brier: float
    ece: float
    macro: Average
    weighted: Average
    classes: tuple[ClassReport, ...]
    calibration: tuple[CalibrationBin, ...]
    confusion: NDArray[np.int64]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values under stable keys; numbers that do not exist (or are infinite) are None."""
        return {
            "examples": self.examples,
            "correct": self.correct,
            "accuracy": self.accuracy,
            "accuracy_interval": {"low": self.interval.low, "high": self.interval.high, "level": self.interval.level},
            "nll": self.nll if math.isfinite(self.nll) else None,
            "brier": self.brier,
            "ece": self.ece,
            "macro": dict(vars(self.macro)),
            "weighted": dict(vars(self.weighted)),
            "classes": [dict(vars(entry)) for entry in self.classes],
            "calibration": [dict(vars(entry)) for entry in self.calibration],
            "confusion": self.confusion.tolist(),
        }
