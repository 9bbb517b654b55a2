"""First sight of many image files: identity, size and soundness, each file read once.

Streams: however many files there are, only the bytes of those being decoded are in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from dalcli.data.decoding import DecodeError, probe, read_image_file
from dalcli.data.found import FoundImage
from dalcli.data.identity import sample_id
from dalcli.runtime.parallel import ordered_map


@dataclass(frozen=True, slots=True)
class ScannedImage:
    """What a file turned out to be.

    ``problem`` is None for a sound image. A damaged image has a ``problem`` and a ``sample_id`` but no width,
    height and mode; a file whose bytes could not be read (``missing``: there is none) has only a ``problem``.
    Width and height are as displayed (after EXIF rotation); ``size`` is in bytes; ``mode`` is Pillow's.
    """

    found: FoundImage
    sample_id: str | None = None
    size: int | None = None
    mtime_ns: int | None = None
    width: int | None = None
    height: int | None = None
    mode: str | None = None
    problem: str | None = None
    missing: bool = False


def scan_images(
    found: Iterable[FoundImage], workers: int | None = None, advance: Callable[[int], object] | None = None
) -> Iterator[ScannedImage]:
    """Read, hash and fully decode every image on ``workers`` threads (default: processor cores), in order.

    Never raises for a bad file: its ``problem`` says what is wrong. ``advance(1)`` is called in the caller's thread
    for every image done.
    """
    for scanned in ordered_map(scan_image, found, workers):
        if advance is not None:
            advance(1)
        yield scanned


def scan_image(found: FoundImage) -> ScannedImage:
    """Read, hash and fully decode one image."""
    try:
        data, status = read_image_file(found.path)
    except DecodeError as error:
        return ScannedImage(found, problem=error.reason, missing=error.missing)
    identity, size = sample_id(data), len(data)
    try:
        width, height, mode = probe(data)
    except DecodeError as error:
        return ScannedImage(found, identity, size, status.st_mtime_ns, problem=error.reason)
    return ScannedImage(
        found=found, sample_id=identity, size=size, mtime_ns=status.st_mtime_ns, width=width, height=height, mode=mode
    )
