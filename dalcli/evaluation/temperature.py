"""Temperature scaling: one number that makes a model as sure as it is right, and what it is worth on other labels.

Probabilities softmax(z / T) with the T that minimises the mean negative log-likelihood on evaluation labels (Guo et
al., "On Calibration of Modern Neural Networks", ICML 2017). Predictions stay what they are. A T that is judged on the
labels it was fitted on flatters itself, so it is *cross-fitted*: each fold's likelihood and calibration error are
measured with the temperature that was fitted on the other folds. What is kept is the temperature fitted on all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dalcli.evaluation.calibration import Calibration

FOLDS = 5
FEWEST = 20
"""Labels below which no temperature is fitted: the cross-fitted one would rest on 15 or fewer."""
COLDEST, HOTTEST = 0.05, 20.0
"""Bounds of T. A model that is right about every label would be best off with T = 0, which is certainty."""

_AT_ONCE = 1 << 22  # numbers in float64 at once
_STEPS = 100
_PRECISION = 1e-9  # of log T

Logits = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Temperature:
    """A model version's temperature, and what it changes; None where there is none, and ``reason`` says why.

    Attributes:
        value: T, fitted on all evaluation labels.
        bounded: T is at one of its bounds: the labels would have it lower (or higher) still.
        nll: cross-fitted mean negative log-likelihood in nats; inf if a true class had probability 0.
        ece: cross-fitted expected calibration error.
        folds: how many parts the labels were cut into.
    """

    value: float | None
    bounded: bool
    nll: float | None
    ece: float | None
    folds: int
    reason: str | None


def why_none(report: Mapping[str, Any] | None) -> str:
    """Why a version has no temperature, by the report of its newest measurement (None: it has none), and what helps."""
    reason = None if report is None else (report.get("temperature") or {}).get("reason")
    return "it was not measured (dalcli evaluate)" if reason is None else str(reason)


def cross_fitted(labels: Labels, logits: Logits, order: NDArray[np.integer[Any]], bins: int = 15) -> Temperature:
    """The temperature of ``logits`` (n, K) for ``labels`` (n,), and the figures with it.

    Memory: as much again as ``logits``, at most.

    Args:
        order: (n,) any numbers that say which label is in which fold: by their rank, taken in turn.
        bins: of the calibration error.
    """
    if len(labels) < FEWEST:
        return _none(f"{len(labels)} evaluation labels, at least {FEWEST}")
    if (labels == labels[0]).all():
        return _none("the evaluation labels are all of one class")
    # A class that came after training has probability 0 at every temperature: its labels say nothing about one.
    possible = np.isfinite(logits[np.arange(len(labels)), labels])
    known, outputs = labels[possible], logits[possible]
    if len(known) < FEWEST:
        return _none(f"{len(known)} evaluation labels of classes that the model knows, at least {FEWEST}")
    folds = np.empty(len(known), np.int64)
    folds[np.argsort(order[possible], kind="stable")] = np.arange(len(known)) % FOLDS
    value = fit(known, outputs)
    calibration, total = Calibration(bins), 0.0
    for fold in range(FOLDS):
        inside = folds == fold
        beside = fit(known[~inside], outputs[~inside], start=value)
        total += _measure(calibration, known[inside], outputs[inside], beside)
    _measure(calibration, labels[~possible], logits[~possible], value)
    return Temperature(
        value=value,
        bounded=value in (COLDEST, HOTTEST),
        nll=total / len(labels) if possible.all() else float("inf"),
        ece=calibration.error(),
        folds=FOLDS,
        reason=None,
    )


def fit(labels: Labels, logits: Logits, start: float = 1.0) -> float:
    """The T in [:data:`COLDEST`, :data:`HOTTEST`] that minimises the likelihood's negative log, which is convex in 1/T.

    ``labels`` (n,), each of whose ``logits`` (n, K) is finite, n ≥ 1. Newton's method in 1/T, kept between the bounds
    that the sign of the slope leaves.
    """
    low, high = 1 / HOTTEST, 1 / COLDEST
    if _slope(labels, logits, low)[0] >= 0:
        return HOTTEST
    if _slope(labels, logits, high)[0] <= 0:
        return COLDEST
    inverse = min(max(1 / start, low), high)
    for _ in range(_STEPS):
        slope, curvature = _slope(labels, logits, inverse)
        low, high = (low, inverse) if slope > 0 else (inverse, high)
        step = inverse - slope / curvature if curvature > 0 else low
        following = step if low < step < high else (low * high) ** 0.5
        if abs(following - inverse) <= _PRECISION * inverse:
            return 1 / following
        inverse = following
    return 1 / inverse


def scaled(logits: Logits, temperature: float) -> NDArray[np.float64]:
    """softmax(z / T), (n, K)."""
    shifted = (logits - logits.max(axis=1, keepdims=True)).astype(np.float64) / temperature
    found: NDArray[np.float64] = np.exp(shifted)
    found /= found.sum(axis=1, keepdims=True)
    return found


def _slope(labels: Labels, logits: Logits, inverse: float) -> tuple[float, float]:
    """First and second derivative of the mean negative log-likelihood by 1/T: E_p[z] − z_y and Var_p[z], on average."""
    slope = curvature = 0.0
    for part in _parts(logits):
        some, truth = logits[part].astype(np.float64), labels[part]
        some -= some.max(axis=1, keepdims=True)
        probabilities = scaled(some, 1 / inverse)
        some[np.isneginf(some)] = 0.0  # probability 0, so that they count for nothing
        mean = (probabilities * some).sum(axis=1)
        slope += float((mean - some[np.arange(len(truth)), truth]).sum())
        curvature += float((probabilities * some**2).sum() - (mean**2).sum())
    return slope / len(labels), curvature / len(labels)


def _measure(calibration: Calibration, labels: Labels, logits: Logits, temperature: float) -> float:
    """Add examples to ``calibration``; their negative log-likelihood, summed up (those of probability 0 left out)."""
    total = 0.0
    for part in _parts(logits):
        some, truth = logits[part], labels[part]
        probabilities = scaled(some, temperature)
        predicted, rows = some.argmax(axis=1), np.arange(len(truth))
        calibration.update(probabilities[rows, predicted], predicted == truth)
        shifted = (some - some.max(axis=1, keepdims=True)).astype(np.float64) / temperature
        log_likelihood = shifted[rows, truth] - np.log(np.exp(shifted).sum(axis=1))
        total -= float(log_likelihood[np.isfinite(log_likelihood)].sum())
    return total


def _parts(logits: Logits) -> Iterator[slice]:
    step = max(1, _AT_ONCE // max(1, logits.shape[1]))
    return (slice(start, start + step) for start in range(0, len(logits), step))


def _none(reason: str) -> Temperature:
    return Temperature(None, False, None, None, 0, reason)
