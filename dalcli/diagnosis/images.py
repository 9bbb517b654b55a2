"""Pixels of the images of a diagnosis, read once where they fit memory; what cannot be read is left out.

Reading records nothing: no quarantine, no cache.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dalcli.config.schema import ImageSize
from dalcli.data.pixels import UInt8Array, UnreadableImagesError
from dalcli.state.catalog import PoolImage
from dalcli.workspace.images import peek_images, row_chunks
from dalcli.workspace.session import Session

KEPT_BYTES = 1 << 30
AT_ONCE = 256


class Pictures:
    """Images by sample key."""

    def __init__(self, session: Session, images: Sequence[PoolImage], size: ImageSize) -> None:
        wanted = list({image.key: image for image in images}.values())
        opened = peek_images(session, wanted, size)
        self._source = opened.pixels
        keep = len(opened.images) * int(np.prod(opened.pixels.shape)) <= KEPT_BYTES
        self._kept: UInt8Array | None = np.empty((len(opened.images), *opened.pixels.shape), np.uint8) if keep else None
        readable = np.ones(len(opened.images), bool)
        with session.feedback.task("reading images", len(readable)) as task:
            for rows in row_chunks(len(readable), AT_ONCE):
                try:
                    block = opened.pixels.read(rows)
                except UnreadableImagesError as error:
                    readable[[failure.row for failure in error.failures]] = False
                    rows = rows[readable[rows]]  # noqa: PLW2901
                    block = opened.pixels.read(rows)
                if self._kept is not None:
                    self._kept[rows] = block
                task.advance(len(rows))
        self._row = {image.key: row for row, image in enumerate(opened.images) if readable[row]}
        lost = len(wanted) - len(self._row)
        if lost:
            session.feedback.warn(f"{lost} of {len(wanted)} images cannot be read and are left out")

    def readable(self, images: Sequence[PoolImage]) -> list[PoolImage]:
        """Those that could be read, in the same order."""
        return [image for image in images if image.key in self._row]

    def read(self, keys: Sequence[int]) -> UInt8Array:
        """Pixels (n, H, W, 3) of readable images."""
        rows = np.array([self._row[key] for key in keys], dtype=np.int64)
        return self._source.read(rows) if self._kept is None else self._kept[rows]
