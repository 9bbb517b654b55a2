"""When pixels are remembered: if the user wants it and the disk has room. A cache that fails never fails a command."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from dalcli.config.schema import ImageSize
from dalcli.config.words import bytes_text
from dalcli.data.identity import digests
from dalcli.data.pixel_cache import CachedPixels, cache_bytes, cache_name, remove_leftovers
from dalcli.data.pixels import PixelSource
from dalcli.state.catalog import PoolImage
from dalcli.workspace.session import Surroundings

ANNOUNCED_BYTES = 50 << 20  # less is not worth a line
SPARED_BYTES = 256 << 20  # of the disk are left for models and scores


def behind_cache(
    session: Surroundings, images: Sequence[PoolImage], pixels: PixelSource, size: ImageSize, *, look_only: bool = False
) -> CachedPixels | None:
    """``pixels`` of ``images`` behind the workspace's cache; None if that is turned off.

    Where the disk has no room for what would be added, and with ``look_only``, nothing is.
    """
    data = session.config.data
    if not data.cache:
        return None
    folder = session.workspace.state / "cache" / cache_name(size, data.resize, data.alpha_background)
    content = digests([image.sample_id for image in images])
    cache = CachedPixels(pixels, content, folder, writable=not look_only)
    if cache.missing and not look_only:
        remove_leftovers(folder)
        cache.writable = _announce(session, cache)
    return cache


def bytes_to_add(cache: CachedPixels | None) -> int:
    """Disk space that reading every image once would take."""
    return 0 if cache is None else cache_bytes(cache.missing, cache.shape)


def finish(session: Surroundings, cache: CachedPixels | None) -> None:
    """Write what was decoded and not written yet; say so if that failed."""
    if cache is None:
        return
    cache.flush()
    if cache.problem is not None:
        session.feedback.note(f"pixels are not cached: {cache.problem.strerror or cache.problem}")
        cache.problem = None  # said once


def has_room(session: Surroundings, needed: int) -> bool:
    """Whether the disk would not be full with ``needed`` more bytes."""
    return shutil.disk_usage(session.workspace.state).free >= needed + SPARED_BYTES


def _announce(session: Surroundings, cache: CachedPixels) -> bool:
    """Whether there is room for what is missing; says so, or how much it is."""
    needed = bytes_to_add(cache)
    if not has_room(session, needed):
        session.feedback.note(
            f"pixels are not cached: that would take {bytes_text(needed)}, for which the disk has no room "
            "(data.cache: false turns caching off)"
        )
        return False
    if needed > ANNOUNCED_BYTES:
        session.feedback.note(f"caching pixels: {bytes_text(needed)} in {cache.folder}; to be deleted at will")
    return True
