"""scikit-learn's digits: 1,797 scans of 8×8 pixels with 17 grey levels, shipped inside the package."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dalcli.simulation.schema import SourceConfig
from dalcli.simulation.sources.base import LabeledPixels, as_uint8, missing_package


class Digits:
    """It has no test split of its own."""

    takes: tuple[str, ...] = ()

    def images(self, config: SourceConfig) -> Iterator[LabeledPixels]:
        try:
            from sklearn.datasets import load_digits
        except ImportError:
            raise missing_package("digits", "scikit-learn", "demo") from None
        digits = load_digits()
        for index, (scan, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
            yield LabeledPixels(f"{index:04d}", as_uint8(np.round(scan * 255 / 16)), str(digit))
