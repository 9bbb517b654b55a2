"""From a version's probabilities to what is told of an image: the likeliest classes, and how sure the version is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Likeliest:
    """What is said of n images.

    Attributes:
        classes: (n, top) class positions, likeliest first.
        confidence: (n, top) their probabilities, calibrated where there is a temperature.
        raw: (n,) the first one's before any temperature: what thresholds are compared with.
    """

    classes: NDArray[np.int32]
    confidence: NDArray[np.float32]
    raw: NDArray[np.float32]

    @classmethod
    def empty(cls, images: int, top: int) -> Likeliest:
        """Room for so many; NaN where nothing was said."""
        nothing = np.full((images, top), np.nan, np.float32)
        return cls(np.zeros((images, top), np.int32), nothing, np.full(images, np.nan, np.float32))

    def put(self, rows: NDArray[np.integer[Any]], found: Likeliest) -> None:
        """Set what is said of ``rows``."""
        self.classes[rows], self.confidence[rows], self.raw[rows] = found.classes, found.confidence, found.raw


def likeliest(probabilities: NDArray[np.floating[Any]], temperature: float | None, top: int) -> Likeliest:
    """The ``top`` classes of every row of ``probabilities`` (n, K); of equal ones, the first in the class list.

    softmax(z / T) of the logits z is p^(1/T), normalised: the probabilities say all that is needed.
    """
    if top == 1:  # much faster
        order = probabilities.argmax(axis=1)[:, None]
    else:
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
    found = np.take_along_axis(probabilities, order, axis=1)
    raw = found[:, 0].astype(np.float32)
    if temperature is not None:
        scaled = np.power(probabilities.astype(np.float64) / found[:, :1], 1 / temperature)
        found = np.take_along_axis(scaled, order, axis=1) / scaled.sum(axis=1, keepdims=True)
    return Likeliest(order.astype(np.int32), found.astype(np.float32), raw)
