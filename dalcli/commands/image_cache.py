"""When pixels are remembered: if the user wants it and the disk has room. A cache that fails never fails a command."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence

from dalcli.commands.session import Session
from dalcli.config.schema import ImageSize
from dalcli.config.sizes import bytes_text
from dalcli.data.identity import digests
from dalcli.data.pixel_cache import CachedPixels, cache_bytes, cache_name, remove_leftovers
from dalcli.data.pixels import PixelSource
from dalcli.state.catalog import PoolImage

ANNOUNCED_BYTES = 50 << 20  # less is not worth a line
SPARED_BYTES = 256 << 20  # of the disk are left for models and scores


def cached(
    session: Session, images: Sequence[PoolImage], pixels: PixelSource, size: ImageSize, *, look_only: bool = False
) -> CachedPixels | None:
    """``pixels`` of ``images`` behind the workspace's cache; None if it is turned off.

    With ``look_only`` nothing is added, and nothing said.
    """
    data = session.config.data
    if not data.cache:
        return None
    folder = session.workspace.state / "cache" / cache_name(size, data.resize, data.alpha_background)
    opened = CachedPixels(
        pixels, digests([image.sample_id for image in images]), folder, writable=not look_only and os.access
    )
    return opened
