"""The one way from samples to what is seen of them: find each sample's file, read it, and live with those that fail.

A model that is trained as a whole sees pixels; the head of a frozen network sees the features that it gives.

A file that was damaged or edited is set aside (quarantined) with a warning and the command goes on with the others.
Many missing files at once mean an unmounted disk, not many lost images: then nothing is set aside, and it stops.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType

import numpy as np

from dalcli.config.schema import ImageSize
from dalcli.data.file_pixels import FilePixels
from dalcli.data.network import NetworkRecord
from dalcli.data.pixels import Failure, Inputs, InputSource, IntArray, UnreadableImagesError
from dalcli.data.recipe import Recipe
from dalcli.data.row_cache import CachedRows
from dalcli.errors import DalcliError
from dalcli.models.spec import Seen
from dalcli.runtime.prefetch import prefetch
from dalcli.state.catalog import PoolImage
from dalcli.workspace import image_cache
from dalcli.workspace.image_files import FoundFile, find_file, find_files
from dalcli.workspace.network_features import NetworkFeatures
from dalcli.workspace.quarantine import set_aside
from dalcli.workspace.session import Session, Surroundings

KEPT_BYTES = 1 << 30
FEATURES_AT_ONCE = 128

Listing = list[tuple[int, str, str]]
"""What another process needs to open the same images: key, sample id and stored path of each."""


@dataclass(frozen=True, eq=False)
class Block:
    """Some of the images: ``rows`` (n,) of them, in order, and what is seen of them.

    ``inputs``: pixels (n, H, W, 3) uint8, or features (n, d).
    """

    rows: IntArray
    inputs: Inputs

    def __len__(self) -> int:
        return len(self.rows)


class PoolImages:
    """Samples in a fixed order that can be iterated over, block by block; what cannot be read is left out.

    Row i belongs to ``images[i]``, whose file is at ``paths[i]`` (as stored in the workspace). A context manager: what
    was made is in the cache afterwards, also if the work was interrupted.

    Attributes:
        lost: what could not be read so far, one failure a row.
        source: what is seen, by row, raising UnreadableImagesError; for code that reads again and again.
    """

    def __init__(
        self,
        surroundings: Surroundings,
        images: Sequence[PoolImage],
        paths: Sequence[str],
        made: NetworkFeatures | FilePixels,
        cache: CachedRows | None,
        recorder: Session | None,
    ) -> None:
        self.images, self.paths = tuple(images), tuple(paths)
        self.source: InputSource = made if cache is None else cache
        self._made = made
        self.lost: dict[int, Failure] = {}
        self._surroundings, self._cache, self._recorder = surroundings, cache, recorder
        self._streams: list[Generator[Block, None, None]] = []

    @classmethod
    def open(cls, session: Session, images: Sequence[PoolImage], seen: Seen, *, keep: bool = False) -> PoolImages:
        """Find every sample's file; those without one are set aside and left out, as are unreadable ones later.

        ``keep`` decoded pixels (up to 1 GiB of them) where they are read again and again.

        Raises:
            DalcliError: so many are missing that a disk must be.
        """
        places = find_files(session, images)
        gone = {i.key: p.problem for i, p in zip(images, places, strict=True) if p.problem is not None}
        set_aside(session, images, gone, missing=len(gone))
        return cls._of(session, *_found(images, places), seen, keep=keep, recorder=session)

    @classmethod
    def peek(cls, session: Session, images: Sequence[PoolImage], seen: Seen) -> PoolImages:
        """Like :meth:`open`, but whatever is found out about files and pixels is recorded nowhere."""
        places = [find_file(session.workspace, image) for image in images]
        return cls._of(session, *_found(images, places), seen, look_only=True)

    @classmethod
    def reopen(
        cls, surroundings: Surroundings, listing: Listing, seen: Seen, *, look_only: bool, keep: bool = False
    ) -> PoolImages:
        """The images that another process :meth:`listed`, row by row; nothing is looked for or recorded.

        ``look_only``: what is made is not cached. ``keep``: as for :meth:`open`.
        """
        images = [PoolImage(key, sample_id, ()) for key, sample_id, _ in listing]
        return cls._of(surroundings, images, [path for *_, path in listing], seen, keep=keep, look_only=look_only)

    @classmethod
    def _of(
        cls,
        surroundings: Surroundings,
        images: Sequence[PoolImage],
        paths: Sequence[str],
        seen: Seen,
        *,
        keep: bool = False,
        look_only: bool = False,
        recorder: Session | None = None,
    ) -> PoolImages:
        """``images`` whose bytes are at ``paths``, behind the cache."""
        files = surroundings.workspace.absolute_names(paths)
        made: NetworkFeatures | FilePixels
        if isinstance(seen, NetworkRecord):
            made = NetworkFeatures(surroundings, seen, files)
        else:
            made = _pixels(surroundings, files, seen, keep)
        cache = image_cache.behind_cache(surroundings, images, made, seen, look_only=look_only)
        return cls(surroundings, images, paths, made, cache, recorder)

    def __len__(self) -> int:
        return len(self.images)

    def __enter__(self) -> PoolImages:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stream in self._streams:  # nothing reads ahead any more
            stream.close()
        image_cache.finish(self._surroundings, self._cache)

    @property
    def listed(self) -> Listing:
        """For :meth:`reopen` in another process."""
        return [(image.key, image.sample_id, path) for image, path in zip(self.images, self.paths, strict=True)]

    @property
    def caching(self) -> bool:
        """Whether what is made is kept on disk."""
        return self._cache is not None and self._cache.writable

    @property
    def at_once(self) -> int | None:
        """As many as are to be read at a time, so that people see that it goes on: a network takes seconds for more."""
        return FEATURES_AT_ONCE if isinstance(self._made, NetworkFeatures) else None

    @property
    def bytes_to_cache(self) -> int:
        """Disk space that reading every image once would take."""
        return image_cache.bytes_to_add(self._cache)

    @property
    def rows(self) -> IntArray:
        """Those that are not lost."""
        return np.array([row for row in range(len(self.images)) if row not in self.lost], dtype=np.int64)

    def blocks(self, size: int, rows: IntArray | None = None, *, complete: bool = False) -> Iterator[Block]:
        """What is seen of ``rows`` (default: all that are not lost), ``size`` at a time, read ahead.

        What turns out to be unreadable is left out of its block and goes into ``lost``; where images were opened to
        record it, it is set aside. Blocks without any image are not handed out. ``complete``: all of them or nothing.

        Raises:
            DalcliError: so many are missing that a disk must be.
            UnreadableImagesError: some of the images, if they were to be ``complete``.
        """
        stream = self._stream(size, self.rows if rows is None else rows, complete)
        self._streams.append(stream)
        return stream

    def _stream(self, size: int, rows: IntArray, complete: bool) -> Generator[Block, None, None]:
        pieces = (rows[start : start + size] for start in range(0, len(rows), size))
        with prefetch(self._read_some(piece) for piece in pieces) as found:
            try:
                for block, failures in found:
                    if failures and complete:
                        raise UnreadableImagesError(failures)
                    if failures:
                        self.lose(failures)
                    if len(block):
                        yield block
            except BaseException:  # prefetch waits for what is being read, and a network takes a while for a block
                if isinstance(self._made, NetworkFeatures):
                    self._made.interrupt()
                raise

    def read(self, rows: IntArray) -> Inputs:
        """What is seen of ``rows``, (n, H, W, 3) uint8 or (n, d).

        Raises:
            UnreadableImagesError: naming every one of them that cannot be read.
        """
        return self.source.read(rows)

    def require_unreadable(self, failure: Failure, elsewhere: str) -> None:
        """What the process ``elsewhere`` could not read is lost only if this one, rank 0, cannot read it either.

        Raises:
            DalcliError: it can.
        """
        with suppress(UnreadableImagesError):
            self.read(np.array([failure.row], dtype=np.int64))
            raise DalcliError(
                f"{elsewhere} cannot read {failure.path} ({failure.reason}), which process 0 can",
                "all machines of a torchrun must see the images under the same paths",
            )

    def lose(self, failures: Sequence[Failure]) -> None:
        """These rows cannot be read: from now on they are lost, and set aside where that is to be recorded.

        If one was missing, all files are looked for again first: a disk may have gone meanwhile. One that another file
        holds is lost here alone: who opens it again will find that file.

        Raises:
            DalcliError: so many are missing that a disk must be.
        """
        found = {failure.row: failure for failure in failures if failure.row not in self.lost}
        if found and self._recorder is not None:
            rows = self.rows.tolist()
            images = [self.images[row] for row in rows]
            absent: dict[int, Failure] = {}
            elsewhere = {row for row, failure in found.items() if failure.missing}
            if elsewhere:
                for row, place in zip(rows, find_files(self._recorder, images), strict=True):
                    if place.problem is not None:
                        absent[row] = Failure(row, place.path, place.problem, missing=True)
            found |= absent
            elsewhere -= absent.keys()
            reasons = {self.images[row].key: failure.reason for row, failure in found.items() if row not in elsewhere}
            set_aside(self._recorder, images, reasons, missing=len(absent))
        self.lost |= found

    def _read_some(self, rows: IntArray) -> tuple[Block, tuple[Failure, ...]]:
        """As many of ``rows`` as can be read, and what is wrong with the others."""
        failures: list[Failure] = []
        while True:
            try:
                return Block(rows, self.source.read(rows)), tuple(failures)
            except UnreadableImagesError as error:
                failures += error.failures
                rows = rows[~np.isin(rows, [failure.row for failure in error.failures])]


def _pixels(surroundings: Surroundings, files: Sequence[str], seen: ImageSize | Recipe, keep: bool) -> FilePixels:
    data = surroundings.config.data
    recipe = seen if isinstance(seen, Recipe) else Recipe(seen, resize=data.resize)
    return FilePixels(
        files,
        recipe.image_size,
        recipe.resize,
        data.alpha_background,
        recipe.crop_fraction,
        recipe.interpolation,
        workers=data.workers,
        memory_limit_bytes=KEPT_BYTES if keep else 0,
    )


def _found(images: Sequence[PoolImage], places: Sequence[FoundFile]) -> tuple[list[PoolImage], list[str]]:
    """The images that have a file, and those files."""
    pairs = [(image, place.path) for image, place in zip(images, places, strict=True) if place.problem is None]
    return [image for image, _ in pairs], [path for _, path in pairs]
