"""Small pictures for contact sheets: JPEG, upright, without any metadata of the original, of bounded size."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from PIL import Image

from dalcli.data.decoding import DecodeError, read_image_file, thumbnail
from dalcli.runtime.parallel import ordered_map
from dalcli.state.catalog import PoolImage
from dalcli.workspace.image_files import find_file
from dalcli.workspace.session import Session

SIDE = 160
"""Pixels of the longer side."""
MOST_BYTES = 12_000
"""Of one picture: coarser until it fits."""
_QUALITIES = (78, 65, 50, 35, 20)


class Thumbnail(NamedTuple):
    """A picture, or why there is none."""

    path: str
    jpeg: bytes | None
    size: tuple[int, int] | None
    problem: str | None


def thumbnails(session: Session, images: Sequence[PoolImage]) -> list[Thumbnail]:
    """One per image, in order; files that are gone or damaged are told, never an error."""

    def one(image: PoolImage) -> Thumbnail:
        return _one(session, image)

    return list(_each(session, one, images))


def _each(session: Session, make: Callable[[PoolImage], Thumbnail], images: Sequence[PoolImage]) -> Iterator[Thumbnail]:
    with session.feedback.task("thumbnails", len(images)) as task:
        for found in ordered_map(make, iter(images), session.config.data.workers):
            task.advance()
            yield found


def _one(session: Session, image: PoolImage) -> Thumbnail:
    found = find_file(session.workspace, image)
    if found.problem is not None:
        return Thumbnail(image.path, None, None, found.problem)
    try:
        data, _ = read_image_file(session.workspace.absolute_path(found.path))
        small = thumbnail(data, SIDE)
    except DecodeError as error:
        return Thumbnail(found.path, None, None, error.reason)
    except MemoryError:
        return Thumbnail(found.path, None, None, "too large for the memory there is")
    return Thumbnail(found.path, _jpeg(small), small.size, None)


def _jpeg(image: Image.Image) -> bytes:
    data = b""
    for quality in _QUALITIES:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality, optimize=True)  # Pillow writes no EXIF that it is not given
        data = buffer.getvalue()
        if len(data) <= MOST_BYTES:
            break
    return data
