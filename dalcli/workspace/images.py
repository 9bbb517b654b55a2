"""From samples to pixels: which file holds a sample's bytes today, and what happens to those that none does.

A file that was damaged or edited is set aside (quarantined) with a warning and the command goes on. Many missing
files at once mean an unmounted disk, not many lost images: then nothing is set aside and the command stops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np

from dalcli.config.schema import ImageSize
from dalcli.data.file_pixels import FilePixels
from dalcli.data.identity import sample_id
from dalcli.data.pixel_cache import CachedPixels
from dalcli.data.pixels import Failure, IntArray, PixelSource, UInt8Array, UnreadableImagesError
from dalcli.errors import DalcliError
from dalcli.runtime.parallel import ordered_map
from dalcli.state import catalog
from dalcli.state.catalog import PoolImage, SeenFile
from dalcli.state.workspace import Workspace
from dalcli.workspace import image_cache
from dalcli.workspace.session import Session, Surroundings

MISSING_TOLERATED = 10
MISSING_FRACTION = 0.05
VERIFY_ROWS = 64
FOUND_AT_ONCE = 256
KEPT_BYTES = 1 << 30

T = TypeVar("T")


@dataclass(frozen=True)
class ReadableImages:
    """Samples in order, with pixels that were readable a moment ago: row i belongs to ``images[i]``.

    ``paths`` are the files that hold them today, as stored in the workspace. ``cache`` is what remembers them, also
    for the images that were left out since.
    """

    images: tuple[PoolImage, ...]
    paths: tuple[str, ...]
    pixels: PixelSource
    cache: CachedPixels | None = None

    def without(self, keys: frozenset[int]) -> ReadableImages:
        """The others, in the same order; what was decoded stays decoded."""
        rows = [row for row, image in enumerate(self.images) if image.key not in keys]
        return ReadableImages(
            tuple(self.images[row] for row in rows),
            tuple(self.paths[row] for row in rows),
            _PickedPixels(self.pixels, np.array(rows, dtype=np.int64)),
            self.cache,
        )

    @contextmanager
    def remembered(self, surroundings: Surroundings) -> Iterator[None]:
        """What is decoded meanwhile is in the cache afterwards, also if the work is interrupted."""
        try:
            yield
        finally:
            image_cache.finish(surroundings, self.cache)


def open_images(
    session: Session, images: Sequence[PoolImage], size: ImageSize, *, keep: bool = False
) -> ReadableImages:
    """Find every sample's file; those without one are quarantined and left out.

    ``keep`` decoded pixels (up to 1 GiB of them) where they are read again and again.

    Raises:
        DalcliError: so many are missing that a disk must be.
    """
    places = _find_files(session, images)
    gone = {i.key: p.problem for i, p in zip(images, places, strict=True) if p.problem is not None}
    _set_aside(session, images, gone, missing=len(gone))
    return _readable(session, *_found(images, places), size, keep=keep)


def peek_images(session: Session, images: Sequence[PoolImage], size: ImageSize) -> ReadableImages:
    """Like :func:`open_images`, but whatever is found out about files and pixels is recorded nowhere."""
    places = [_find_file(session.workspace, image) for image in images]
    return _readable(session, *_found(images, places), size, look_only=True)


def listed(opened: ReadableImages) -> list[tuple[int, str, str]]:
    """What another process needs to open the same images (JSON): key, sample id and stored path of each."""
    return [(i.key, i.sample_id, path) for i, path in zip(opened.images, opened.paths, strict=True)]


def reopen_images(
    surroundings: Surroundings,
    listing: Sequence[tuple[int, str, str]],
    size: ImageSize,
    *,
    look_only: bool,
    keep: bool = False,
) -> ReadableImages:
    """The images that another process :func:`listed`, row by row; nothing is looked for or recorded.

    ``look_only``: what is decoded is not cached. ``keep``: as for :func:`open_images`.
    """
    images = tuple(PoolImage(key, sample_id, ()) for key, sample_id, _ in listing)
    paths = tuple(path for _, _, path in listing)
    return _readable(surroundings, images, paths, size, keep=keep, look_only=look_only)


def open_decodable_images(session: Session, images: Sequence[PoolImage], size: ImageSize) -> ReadableImages:
    """Like :func:`open_images`, after decoding every image once: for sets that are read again and again."""
    opened = open_images(session, images, size, keep=True)
    failures: list[Failure] = []
    with opened.remembered(session), session.feedback.task("reading images", len(opened.images)) as task:
        for rows in row_chunks(len(opened.images), VERIFY_ROWS):
            try:
                opened.pixels.read(rows)
            except UnreadableImagesError as error:
                failures += error.failures
            task.advance(len(rows))
    return opened.without(set_aside_unreadable(session, opened.images, failures)) if failures else opened


def with_readable_images(
    session: Session, images: Sequence[PoolImage], size: ImageSize, work: Callable[[ReadableImages], T]
) -> T:
    """``work``, which reads the images once; if some cannot be read, set those aside and work again on the others.

    Raises:
        DalcliError: so many are missing that a disk must be.
    """
    opened = open_images(session, images, size)
    while True:
        try:
            with opened.remembered(session):
                return work(opened)
        except UnreadableImagesError as error:
            gone = set_aside_unreadable(session, opened.images, error.failures)
        kept = [image for image in opened.images if image.key not in gone]
        opened = open_decodable_images(session, kept, size)


def set_aside_unreadable(session: Session, images: Sequence[PoolImage], failures: Sequence[Failure]) -> frozenset[int]:
    """Quarantine the samples of failed rows; returns the keys of all that are out.

    If one was missing, all of ``images`` are looked for again first: a disk may have gone meanwhile.

    Raises:
        DalcliError: so many are missing that a disk must be.
    """
    reasons = {images[failure.row].key: failure.reason for failure in failures}
    missing = 0
    if any(failure.missing for failure in failures):
        gone = {
            image.key: place.problem
            for image, place in zip(images, _find_files(session, images), strict=True)
            if place.problem is not None
        }
        missing = len(gone)
        reasons |= gone
    _set_aside(session, images, reasons, missing=missing)
    return frozenset(reasons)


def row_chunks(count: int, size: int) -> Iterator[IntArray]:
    """0..count−1 in consecutive pieces of at most ``size``."""
    for start in range(0, count, size):
        yield np.arange(start, min(start + size, count), dtype=np.int64)


def _readable(
    surroundings: Surroundings,
    images: tuple[PoolImage, ...],
    paths: tuple[str, ...],
    size: ImageSize,
    *,
    keep: bool = False,
    look_only: bool = False,
) -> ReadableImages:
    """``images`` whose bytes are at ``paths``, behind the cache."""
    data = surroundings.config.data
    files = [surroundings.workspace.absolute_path(path) for path in paths]
    limit = KEPT_BYTES if keep else 0
    pixels = FilePixels(files, size, data.resize, data.alpha_background, workers=data.workers, memory_limit_bytes=limit)
    cache = image_cache.behind_cache(surroundings, images, pixels, size, look_only=look_only)
    return ReadableImages(images, paths, pixels if cache is None else cache, cache)


class _PickedPixels:
    """Some rows of another source, renumbered from 0."""

    def __init__(self, source: PixelSource, rows: IntArray) -> None:
        self._source, self._rows = source, rows

    @property
    def shape(self) -> tuple[int, int, int]:
        return self._source.shape

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, rows: IntArray) -> UInt8Array:
        try:
            return self._source.read(self._rows[rows])
        except UnreadableImagesError as error:
            number = {int(row): position for position, row in enumerate(self._rows)}
            raise UnreadableImagesError(
                [Failure(number[f.row], f.path, f.reason, f.missing) for f in error.failures]
            ) from None


@dataclass(frozen=True)
class _Place:
    """The file (as stored) that holds a sample's bytes today, or why there is none; ``touched`` ones still do."""

    path: str
    problem: str | None = None
    touched: SeenFile | None = None


def _found(images: Sequence[PoolImage], places: Sequence[_Place]) -> tuple[tuple[PoolImage, ...], tuple[str, ...]]:
    """The images that have a file, and those files."""
    pairs = [(image, place.path) for image, place in zip(images, places, strict=True) if place.problem is None]
    return tuple(image for image, _ in pairs), tuple(path for _, path in pairs)


def _find_files(session: Session, images: Sequence[PoolImage]) -> list[_Place]:
    """One place per image; what was touched without being changed is not hashed again the next time."""
    find = partial(_find_some, session.workspace)
    chunks = (images[start : start + FOUND_AT_ONCE] for start in range(0, len(images), FOUND_AT_ONCE))
    places = [place for some in ordered_map(find, chunks, session.config.data.workers) for place in some]
    touched = [place.touched for place in places if place.touched is not None]
    if touched:
        with session.database.write() as connection:
            for file in touched:
                assert file.size is not None and file.mtime_ns is not None
                catalog.refresh_file(connection, file.path, file.size, file.mtime_ns)
    return places


def _find_some(workspace: Workspace, images: Sequence[PoolImage]) -> list[_Place]:
    return [_find_file(workspace, image) for image in images]


def _find_file(workspace: Workspace, image: PoolImage) -> _Place:
    problem = "no file is known to hold it"
    for seen in image.files:
        path = workspace.absolute_path(seen.path)
        try:
            status = path.stat()
            if (status.st_size, status.st_mtime_ns) == (seen.size, seen.mtime_ns):
                return _Place(seen.path)
            if sample_id(path) == image.sample_id:
                return _Place(seen.path, touched=SeenFile(seen.path, status.st_size, status.st_mtime_ns))
            problem = "the content changed since registration"
        except FileNotFoundError:
            problem = "the file is missing"
        except OSError as error:
            problem = str(error.strerror or error).lower()
    return _Place(image.path, problem)


def _set_aside(session: Session, images: Sequence[PoolImage], reasons: dict[int, str], *, missing: int) -> None:
    if not reasons:
        return
    if missing > min(max(MISSING_TOLERATED, MISSING_FRACTION * len(images)), len(images) / 2):
        example = next(f"{image.path}: {reasons[image.key]}" for image in images if image.key in reasons)
        raise DalcliError(
            f"{missing} of {len(images)} images are missing or changed, e.g. {example}; nothing was changed",
            "is a disk not mounted? If the images were moved: dalcli pool relocate OLD NEW",
        )
    with session.database.write() as connection:
        catalog.quarantine(connection, reasons)
    number = "1 image" if len(reasons) == 1 else f"{len(reasons)} images"
    session.feedback.warn(f"{number} can no longer be read: see `dalcli pool quarantine`")
