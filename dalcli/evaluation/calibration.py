"""Expected calibration error: how far a model's confidence is from its accuracy.

Top-1 confidences are sorted into B equal-width bins (i/B, (i+1)/B] (the first one includes 0), and

    ECE = Σ_i n_i / n · |accuracy_i − mean confidence_i|

as in Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dalcli.evaluation.report import CalibrationBin


class Calibration:
    """Sums per confidence bin."""

    def __init__(self, bins: int) -> None:
        if bins < 1:
            raise ValueError(f"at least one bin, not {bins}")
        self._edges = np.arange(bins + 1) / bins
        self._counts = np.zeros(bins, np.int64)
        self._confidence = np.zeros(bins)
        self._correct = np.zeros(bins, np.int64)

    def update(self, confidence: NDArray[np.float64], correct: NDArray[np.bool_]) -> None:
        """Add examples: top-1 confidence (n,) and whether the prediction was right (n,)."""
        bins = len(self._counts)
        # Comparing with the edges themselves puts a confidence that equals one below it; multiplying by B may not.
        index = np.clip(np.searchsorted(self._edges, confidence, side="left") - 1, 0, bins - 1)
        self._counts += np.bincount(index, minlength=bins)
        self._confidence += np.bincount(index, weights=confidence, minlength=bins)
        self._correct += np.bincount(index[correct], minlength=bins)

    def error(self) -> float:
        """The expected calibration error, in [0, 1]."""
        return float(np.abs(self._correct - self._confidence).sum() / self._counts.sum())

    def bins(self) -> tuple[CalibrationBin, ...]:
        """The reliability diagram behind :meth:`error`."""
        return tuple(
            CalibrationBin(
                low=float(self._edges[i]),
                high=float(self._edges[i + 1]),
                count=count,
                confidence=float(self._confidence[i]) / count if count else None,
                accuracy=int(self._correct[i]) / count if count else None,
            )
            for i, count in enumerate(self._counts.tolist())
        )
