"""Precision, recall and F1 from a confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dalcli.evaluation.report import Average, ClassReport
from dalcli.scores.columns import Floats


def class_reports(names: Sequence[str], confusion: NDArray[np.int64]) -> tuple[ClassReport, ...]:
    """One report per class from ``confusion`` (K, K), rows true, columns predicted."""
    support, predicted, correct = confusion.sum(axis=1), confusion.sum(axis=0), confusion.diagonal()
    precision = _ratio(correct, predicted)
    recall = _ratio(correct, support)
    f1 = _ratio(2 * correct, support + predicted)
    return tuple(
        ClassReport(
            name=name,
            support=int(support[k]),
            predicted=int(predicted[k]),
            correct=int(correct[k]),
            precision=_defined(precision[k]),
            recall=_defined(recall[k]),
            f1=_defined(f1[k]),
        )
        for k, name in enumerate(names)
    )


def macro_average(classes: Sequence[ClassReport]) -> Average:
    """Every class counts the same; classes for which a number is undefined are left out of it."""
    return _average(classes, np.ones(len(classes)))


def weighted_average(classes: Sequence[ClassReport]) -> Average:
    """Every class counts by its number of examples; classes for which a number is undefined are left out of it."""
    return _average(classes, np.array([entry.support for entry in classes], np.float64))


def _average(classes: Sequence[ClassReport], weights: Floats) -> Average:
    return Average(
        precision=_mean([entry.precision for entry in classes], weights),
        recall=_mean([entry.recall for entry in classes], weights),
        f1=_mean([entry.f1 for entry in classes], weights),
    )


def _mean(values: Sequence[float | None], weights: Floats) -> float | None:
    known = np.array([value is not None for value in values])
    total = float(weights[known].sum())
    numbers = np.array([value for value in values if value is not None], np.float64)
    return float(weights[known] @ numbers) / total if total > 0 else None


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> Floats:
    ratio = np.full(len(whole), np.nan)
    np.divide(part, whole, out=ratio, where=whole > 0)
    return ratio


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
