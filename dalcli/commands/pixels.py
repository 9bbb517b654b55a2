"""From samples to pixels: which file holds a sample's bytes today, and what happens to those that none does.

A file that was damaged or edited is set aside (quarantined) with a warning and the command goes on. Many missing
files at once mean an unmounted disk, not many lost images: then nothing is set aside and the command stops.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dalcli.commands.session import Session
from dalcli.config.schema import ImageSize
from dalcli.data.identity import sample_id
from dalcli.data.images import DecodedImages
from dalcli.data.pixels import Failure, IntArray, PixelSource, UInt8Array, UnreadableImagesError
from dalcli.errors import DalcliError
from dalcli.state import catalog
from dalcli.state.catalog import PoolImage, SeenFile

MISSING_TOLERATED = 10
MISSING_FRACTION = 0.05
VERIFY_ROWS = 64


@dataclass(frozen=True)
class ReadableImages:
    """Samples in order, with pixels that were readable a moment ago: row i belongs to ``images[i]``."""

    images: tuple[PoolImage, ...]
    pixels: PixelSource


def open_images(session: Session, images: Sequence[PoolImage], size: ImageSize) -> ReadableImages:
    """Find every sample's file; those without one are quarantined and left out.

    Raises:
        DalcliError: so many are missing that a disk must be.
    """
    paths: list[Path] = []
    found: list[PoolImage] = []
    failures: dict[int, str] = {}
    for image in images:
        path = _current_path(session, image)
        if path is None:
            failures[image.key] = f"missing or changed since registration: {image.path or 'no known file'}"
        else:
            paths.append(path)
            found.append(image)
    _set_aside(session, failures, missing=len(failures), total=len(images))
    data = session.config.data
    pixels = DecodedImages(paths, size, data.resize, data.alpha_background, workers=data.workers)
    return ReadableImages(tuple(found), pixels)


def open_decodable_images(session: Session, images: Sequence[PoolImage], size: ImageSize) -> ReadableImages:
    """Like :func:`open_images`, after decoding every image once: for sets that are read again and again."""
    opened = open_images(session, images, size)
    failures: list[Failure] = []
    with session.feedback.task("reading images", len(opened.images)) as task:
        for rows in row_chunks(len(opened.images), VERIFY_ROWS):
            try:
                opened.pixels.read(rows)
            except UnreadableImagesError as error:
                failures += error.failures
            task.advance(len(rows))
    if not failures:
        return opened
    kept = set_aside_unreadable(session, opened.images, failures)
    return open_decodable_images(session, kept, size)


def set_aside_unreadable(
    session: Session, images: Sequence[PoolImage], failures: Sequence[Failure]
) -> tuple[PoolImage, ...]:
    """Quarantine the samples of failed rows; returns the others.

    Raises:
        DalcliError: so many are missing that a disk must be.
    """
    reasons = {images[failure.row].key: failure.reason for failure in failures}
    missing = sum(failure.missing for failure in failures)
    _set_aside(session, reasons, missing=missing, total=len(images))
    return tuple(image for image in images if image.key not in reasons)


class PixelsInOrder:
    """Some rows of another source, renumbered from 0."""

    def __init__(self, source: PixelSource, rows: IntArray) -> None:
        self._source, self._rows = source, rows

    @property
    def shape(self) -> tuple[int, int, int]:
        return self._source.shape

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, rows: IntArray) -> UInt8Array:
        return self._source.read(self._rows[rows])


def row_chunks(count: int, size: int) -> Iterator[IntArray]:
    """0..count−1 in consecutive pieces of at most ``size``."""
    for start in range(0, count, size):
        yield np.arange(start, min(start + size, count), dtype=np.int64)


def _current_path(session: Session, image: PoolImage) -> Path | None:
    return next((path for seen in image.files if (path := _still_there(session, image, seen)) is not None), None)


def _still_there(session: Session, image: PoolImage, seen: SeenFile) -> Path | None:
    """The file, if it still holds the sample's bytes; a touched file is hashed again."""
    path = session.workspace.absolute_path(seen.path)
    try:
        status = path.stat()
        if (status.st_size, status.st_mtime_ns) == (seen.size, seen.mtime_ns):
            return path
        if sample_id(path) != image.sample_id:
            return None
    except OSError:
        return None
    with session.database.write() as connection:
        catalog.refresh_file(connection, seen.path, status.st_size, status.st_mtime_ns)
    return path


def _set_aside(session: Session, reasons: dict[int, str], *, missing: int, total: int) -> None:
    if missing > min(max(MISSING_TOLERATED, MISSING_FRACTION * total), total / 2):
        raise DalcliError(
            f"{missing} of {total} images are missing or changed, e.g. {next(iter(reasons.values()))}; "
            "nothing was changed",
            "is a disk not mounted? If the images were moved: dalcli pool relocate OLD NEW",
        )
    if reasons:
        with session.database.write() as connection:
            catalog.quarantine(connection, reasons)
        session.feedback.warn(f"{len(reasons)} images can no longer be read: see `dalcli pool quarantine`")
