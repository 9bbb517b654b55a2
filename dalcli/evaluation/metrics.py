"""Accuracy, per-class figures, likelihood and calibration of a model, accumulated block by block.

Memory is O(K² + bins) for K classes, whatever the number of examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dalcli.errors import DalcliError
from dalcli.evaluation.calibration import Calibration
from dalcli.evaluation.intervals import wilson
from dalcli.evaluation.per_class import class_reports, macro_average, weighted_average
from dalcli.evaluation.report import EvaluationReport

_SMALLEST = float(np.finfo(np.float32).tiny)

Labels = NDArray[np.integer[Any]]
Scores = NDArray[np.floating[Any]]


class Accumulator:
    """Sums up an evaluation; :meth:`report` may be called at any time.

    Args:
        classes: the K class names, in the order of the model's outputs.
        bins: number of equal-width confidence bins of the calibration error.
    """

    def __init__(self, classes: Sequence[str], bins: int = 15) -> None:
        if not classes:
            raise ValueError("an evaluation needs at least one class")
        self._classes = tuple(classes)
        self._confusion = np.zeros((len(classes), len(classes)), np.int64)
        self._calibration = Calibration(bins)
        self._nll = 0.0
        self._brier = 0.0

    def update(self, labels: Labels, logits: Scores) -> None:
        """Add examples: true class indices (n,) and the model's logits (n, K), any floating dtype.

        Raises:
            ValueError: shapes do not fit, or a label is not in 0..K−1.
            DalcliError: a row's logits have NaN or +inf among them, or nothing but −inf: the model has diverged.
        """
        self._check(labels, logits)
        highest = logits.max(axis=1, keepdims=True).astype(np.float64)
        _refuse_diverged(highest)
        shifted = logits - highest
        probabilities = np.exp(shifted)
        totals = probabilities.sum(axis=1, keepdims=True)
        probabilities /= totals
        log_likelihood = shifted[np.arange(len(labels)), labels] - np.log(totals[:, 0])
        self._add(labels, logits.argmax(axis=1), probabilities, log_likelihood)

    def update_probabilities(self, labels: Labels, probabilities: Scores) -> None:
        """Add examples by class probabilities (n, K) instead of logits.

        For the likelihood they are clipped at float32's smallest normal number, 1.2e-38 (87 nats): what a softmax in
        float32 rounds to 0 is not impossible. Raises like :meth:`update`.
        """
        self._check(labels, probabilities)
        _refuse_diverged(probabilities.max(axis=1))
        exact = probabilities.astype(np.float64)
        likelihood = exact[np.arange(len(labels)), labels]
        self._add(labels, probabilities.argmax(axis=1), exact, np.log(np.maximum(likelihood, _SMALLEST)))

    def report(self, level: float = 0.95) -> EvaluationReport:
        """All metrics so far, with the accuracy's interval at confidence ``level``.

        Raises:
            ValueError: no example was added.
        """
        examples = int(self._confusion.sum())
        if not examples:
            raise ValueError("no evaluation examples")
        correct = int(np.trace(self._confusion))
        classes = class_reports(self._classes, self._confusion)
        return EvaluationReport(
            examples=examples,
            correct=correct,
            accuracy=correct / examples,
            interval=wilson(correct, examples, level),
            nll=self._nll / examples,
            brier=self._brier / examples,
            ece=self._calibration.error(),
            macro=macro_average(classes),
            weighted=weighted_average(classes),
            classes=classes,
            calibration=self._calibration.bins(),
            confusion=self._confusion.copy(),
        )

    def _check(self, labels: Labels, scores: Scores) -> None:
        if scores.shape != (len(labels), len(self._classes)) or labels.ndim != 1:
            raise ValueError(f"{labels.shape} labels, {scores.shape} outputs for {len(self._classes)} classes")
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(self._classes):
            raise ValueError(f"a label is outside 0..{len(self._classes) - 1}")

    def _add(
        self, labels: Labels, predictions: Labels, probabilities: NDArray[np.float64], log_likelihood: Scores
    ) -> None:
        rows = np.arange(len(labels))
        np.add.at(self._confusion, (labels, predictions), 1)
        self._calibration.update(probabilities[rows, predictions], predictions == labels)
        self._nll -= float(log_likelihood.sum())
        self._brier += float((probabilities**2).sum() - 2 * probabilities[rows, labels].sum() + len(labels))


def summarise(
    classes: Sequence[str], labels: Labels, logits: Scores, level: float = 0.95, bins: int = 15
) -> EvaluationReport:
    """:class:`Accumulator` in one call: ``labels`` (n,), ``logits`` (n, K)."""
    accumulator = Accumulator(classes, bins)
    accumulator.update(labels, logits)
    return accumulator.report(level)


def _refuse_diverged(highest: Scores) -> None:
    """A row's largest output is not finite exactly if its softmax is undefined (NaN is larger than any number)."""
    bad = int(np.count_nonzero(~np.isfinite(highest)))
    if bad:
        raise DalcliError(
            f"the model's outputs are not finite numbers for {bad} of {len(highest)} images: it has diverged",
            "lower training.learning_rate in dalcli.yaml and run: dalcli train",
        )
