"""Images that one rank cannot read are every rank's business: nobody may leave in the middle of an exchange."""

from __future__ import annotations

import numpy as np

from dalcli.data.pixels import FAILURES, Failure, IntArray, PixelSource, UInt8Array, UnreadableImagesError
from dalcli.runtime.ranks import Ranks


class PatientPixels:
    """Another source's pixels; where one process is alone, nothing but that.

    With several, a read that fails gives black images, and what failed waits for :meth:`complain`.
    """

    def __init__(self, source: PixelSource, ranks: Ranks) -> None:
        self._source, self._ranks = source, ranks
        self._failures: list[Failure] = []

    @property
    def shape(self) -> tuple[int, ...]:
        return self._source.shape

    def __len__(self) -> int:
        return len(self._source)

    def read(self, rows: IntArray) -> UInt8Array:
        try:
            return self._source.read(rows)
        except UnreadableImagesError as error:
            if self._ranks.size == 1:
                raise
            self._failures += error.failures
            return np.zeros((len(rows), *self.shape), np.uint8)

    def complain(self) -> None:
        """Raise what any rank could not read, on all of them: to be called by all.

        Raises:
            UnreadableImagesError: the same everywhere.
        """
        told = self._ranks.gather(FAILURES.dump_python(self._failures, mode="json"))
        failures = {failure for part in told for failure in FAILURES.validate_python(part)}
        if failures:
            raise UnreadableImagesError(sorted(failures, key=lambda failure: failure.row))
