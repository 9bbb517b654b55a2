"""When what was made of images is remembered: if that is wanted and the disk has room.

Pixels are, unless the user turns it off; a frozen network's features always. A cache that fails never fails a command.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from dalcli.config.words import bytes_text
from dalcli.data.identity import digests
from dalcli.data.network import NetworkRecord
from dalcli.data.pixels import InputSource
from dalcli.data.recipe import Recipe
from dalcli.data.row_cache import SEGMENT_BYTES, CachedRows, cache_bytes, cache_name, features_name, remove_leftovers
from dalcli.models.spec import Seen
from dalcli.state.catalog import PoolImage
from dalcli.workspace.session import Surroundings

ANNOUNCED_BYTES = 50 << 20  # less is not worth a line
SPARED_BYTES = 256 << 20  # of the disk are left for models and scores
FEATURE_ROWS = 512  # in a segment: what a killed run loses at most of what took the network a while


def behind_cache(
    session: Surroundings,
    images: Sequence[PoolImage],
    source: InputSource,
    seen: Seen,
    *,
    look_only: bool = False,
) -> CachedRows | None:
    """``source`` of what is ``seen`` of ``images`` behind the workspace's cache; None if there is to be none.

    Where the disk has no room for what would be added, and with ``look_only``, nothing is.
    """
    data = session.config.data
    features = isinstance(seen, NetworkRecord)
    if not (data.cache or features):
        return None
    cache = CachedRows(
        source,
        digests([image.sample_id for image in images]),
        session.workspace.state / "cache" / _name(session, seen),
        FEATURE_ROWS * 4 * seen.dimension if isinstance(seen, NetworkRecord) else SEGMENT_BYTES,
        dtype=data.features if features else "uint8",
        writable=not look_only,
    )
    if cache.missing and not look_only:
        remove_leftovers(cache.folder)
        cache.writable = _announce(session, cache)
    return cache


def _name(session: Surroundings, seen: Seen) -> str:
    """The folder's: changes exactly when what is seen does."""
    data = session.config.data
    if isinstance(seen, NetworkRecord):
        return features_name(seen.fingerprint, data.alpha_background, data.features)
    if isinstance(seen, Recipe):
        how = (seen.resize, data.alpha_background, seen.crop_fraction, seen.interpolation)
        return cache_name(seen.image_size, *how)
    return cache_name(seen, data.resize, data.alpha_background)


def bytes_to_add(cache: CachedRows | None) -> int:
    """Disk space that reading every image once would take."""
    return 0 if cache is None else cache_bytes(cache.missing, cache.format)


def finish(session: Surroundings, cache: CachedRows | None) -> None:
    """Write what was decoded and not written yet; say so if that failed."""
    if cache is None:
        return
    cache.flush()
    if cache.problem is not None:
        session.feedback.note(f"{_what(cache)} are not cached: {cache.problem.strerror or cache.problem}")
        cache.problem = None  # said once


def has_room(session: Surroundings, needed: int) -> bool:
    """Whether the disk would not be full with ``needed`` more bytes."""
    return shutil.disk_usage(session.workspace.state).free >= needed + SPARED_BYTES


def _announce(session: Surroundings, cache: CachedRows) -> bool:
    """Whether there is room for what is missing; says so, or how much it is."""
    needed, what = bytes_to_add(cache), _what(cache)
    if not has_room(session, needed):
        session.feedback.note(
            f"{what} are not cached: that would take {bytes_text(needed)}, for which the disk has no room "
            f"beside the {bytes_text(SPARED_BYTES)} that are left free"
            + (" (data.cache: false turns caching off)" if what == "pixels" else "")
        )
        return False
    if needed > ANNOUNCED_BYTES:
        session.feedback.note(f"caching {what}: {bytes_text(needed)} in {cache.folder}; to be deleted at will")
    return True


def _what(cache: CachedRows) -> str:
    return "pixels" if cache.format.dtype == "uint8" else "features"
