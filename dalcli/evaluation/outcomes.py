"""What a version said of every single evaluation example: 12 bytes each, kept in the database beside the report.

A measurement is kept for ever, and so is this: it cannot be made again once the version's files are deleted. It is
committed in one transaction with the report.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ROW = np.dtype([("sample", "<i4"), ("label", "<u2"), ("predicted", "<u2"), ("probability", "<f4")])
MOST_CLASSES = 1 << 16


@dataclass(frozen=True, eq=False)
class Outcomes:
    """One entry an example, in ascending order of ``sample``.

    Attributes:
        sample: (n,) keys in the database.
        label: (n,) class positions, as labeled when it was measured.
        predicted: (n,) class positions.
        probability: (n,) of the label, float32, before any temperature.
    """

    sample: NDArray[np.integer[Any]]
    label: NDArray[np.integer[Any]]
    predicted: NDArray[np.integer[Any]]
    probability: NDArray[np.float32]

    def to_bytes(self) -> bytes:
        """Packed, little-endian."""
        order = np.argsort(self.sample, kind="stable")
        rows = np.empty(len(order), _ROW)
        for name in _ROW.names or ():
            rows[name] = getattr(self, name)[order]
        return rows.tobytes()

    @classmethod
    def from_bytes(cls, packed: bytes) -> Outcomes:
        """What :meth:`to_bytes` made."""
        rows = np.frombuffer(packed, _ROW)
        return cls(rows["sample"], rows["label"], rows["predicted"], rows["probability"])
