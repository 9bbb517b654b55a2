"""What is seen of the images of a diagnosis, read once where they fit memory; what cannot be read is left out.

Reading records nothing: no quarantine, no cache.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dalcli.config.words import counted
from dalcli.data.cache_segment import RowFormat
from dalcli.data.network import NetworkRecord
from dalcli.data.pixels import Inputs, InputSource
from dalcli.models.spec import Seen
from dalcli.state.catalog import PoolImage
from dalcli.workspace.images import PoolImages
from dalcli.workspace.session import Session

KEPT_BYTES = 1 << 30
AT_ONCE = 256


class DecodedImages:
    """Gives what is seen of the same images again and again: every quantity of a diagnosis looks at some of them.

    ``row``: where in ``source``, and in ``kept`` if all of it fits memory, an image is, by sample key; images that
    could not be read have none.
    """

    def __init__(self, source: InputSource, row: Mapping[int, int], kept: Inputs | None) -> None:
        self._source, self._row, self._kept = source, row, kept

    @classmethod
    def read(cls, session: Session, images: Sequence[PoolImage], seen: Seen) -> DecodedImages:
        """Read every one of ``images`` once; a warning says how many could not be."""
        wanted = list({image.key: image for image in images}.values())
        with (
            PoolImages.peek(session, wanted, seen) as opened,
            session.feedback.task("reading images", len(opened)) as task,
        ):
            source, count = opened.source, len(opened)
            dtype = session.config.data.features if isinstance(seen, NetworkRecord) else "uint8"
            fits = count * RowFormat(tuple(source.shape), dtype).row_bytes <= KEPT_BYTES
            kept = np.empty((count, *source.shape), dtype) if fits else None
            row: dict[int, int] = {}
            for block in opened.blocks(AT_ONCE):
                if kept is not None:
                    kept[block.rows] = block.inputs
                row |= {opened.images[number].key: int(number) for number in block.rows}
                task.advance(len(block))
        lost = len(wanted) - len(row)
        if lost:
            session.feedback.warn(f"{lost} of {counted(len(wanted), 'image')} cannot be read: left out")
        return cls(source, row, kept)

    def readable(self, images: Sequence[PoolImage]) -> list[PoolImage]:
        """Those that could be read, in the same order."""
        return [image for image in images if image.key in self._row]

    def inputs(self, images: Sequence[PoolImage]) -> Inputs:
        """Pixels (n, H, W, 3), or features (n, d), of readable images."""
        rows = np.array([self._row[image.key] for image in images], dtype=np.int64)
        return self._source.read(rows) if self._kept is None else self._kept[rows]
