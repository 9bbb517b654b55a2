"""Setting samples aside that cannot be read, unless so many are gone that a disk must be."""

from __future__ import annotations

from collections.abc import Sequence

from dalcli.config.words import counted
from dalcli.errors import DalcliError
from dalcli.state import catalog
from dalcli.state.catalog import PoolImage
from dalcli.workspace.session import Session

MISSING_TOLERATED = 10
MISSING_FRACTION = 0.05
LOOKED_AT = 50  # other samples, where most of a few are missing


def set_aside(session: Session, images: Sequence[PoolImage], reasons: dict[int, str], *, missing: int) -> None:
    """Quarantine samples of ``images`` by key, ``missing`` of which have no file.

    Raises:
        DalcliError: so many are missing that a disk must be; nothing was changed.
    """
    if not reasons:
        return
    most_of_few = missing > len(images) / 2 and not _others_are_there(session, images)
    if missing > max(MISSING_TOLERATED, MISSING_FRACTION * len(images)) or most_of_few:
        example = next(f"{image.path}: {reasons[image.key]}" for image in images if image.key in reasons)
        raise DalcliError(
            f"{missing} of {len(images)} images are missing or changed, e.g. {example}; nothing was changed",
            "is a disk not mounted? If the images were moved: dalcli pool relocate OLD NEW",
        )
    with session.database.write() as connection:
        catalog.quarantine(connection, reasons)
    session.feedback.warn(f"{counted(len(reasons), 'image')} can no longer be read: see `dalcli pool quarantine`")


def _others_are_there(session: Session, images: Sequence[PoolImage]) -> bool:
    """Whether the files of most other samples are where they were: then a disk is not what is missing."""
    keys = {image.key for image in images}
    with session.database.read() as connection:
        others = [image for image in catalog.images(connection, "training") if image.key not in keys]
    looked_at = others[:: max(1, len(others) // LOOKED_AT)]
    there = sum(any(session.workspace.absolute_path(file.path).exists() for file in each.files) for each in looked_at)
    return bool(looked_at) and there > len(looked_at) / 2
