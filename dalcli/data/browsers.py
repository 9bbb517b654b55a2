"""Images for a browser: the file as it is where browsers show its kind, else as PNG.

What a file is, its first bytes say, never its name; browsers turn photographs upright themselves (EXIF).
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from threading import BoundedSemaphore

from PIL import Image

from dalcli.data.decoding import decode, read_image_file

_STARTS = ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG\r\n\x1a\n", "image/png"), (b"GIF8", "image/gif"))
_CONVERTING = BoundedSemaphore(2)
"""A large image takes hundreds of megabytes: many who ask at once must not take as many times that."""


@dataclass(frozen=True)
class Picture:
    """What is sent: bytes of this kind."""

    kind: str
    data: bytes


def for_browsers(path: Path) -> Picture:
    """The image in a file, full size; DecodeError if it cannot be read."""
    data = read_image_file(path)[0]
    kind = shown_by_browsers(data[:16])
    return Picture(kind, data) if kind is not None else Picture("image/png", _as_png(data))


def shown_by_browsers(start: bytes) -> str | None:
    """The media type of a file that begins like this, if every current browser shows it."""
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "image/webp"
    if start[4:12] == b"ftypavif":
        return "image/avif"
    return next((kind for beginning, kind in _STARTS if start.startswith(beginning)), None)


def _as_png(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with _CONVERTING:
        Image.fromarray(decode(data)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
