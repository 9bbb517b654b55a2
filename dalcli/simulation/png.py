"""PNG files whose bytes depend on nothing but the pixels: no compression, so no library's choices.

A sample is its bytes (``data/identity``), and every release of Pillow or zlib may compress differently.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np

from dalcli.data.pixels import UInt8Array

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BLOCK = 65535  # bytes in one stored block of deflate
_GREY, _RGB = 0, 2


def encode(pixels: UInt8Array) -> bytes:
    """(H, W) grey or (H, W, 3) RGB uint8 as the bytes of a PNG file (ISO/IEC 15948, RFC 1950 and 1951)."""
    height, width = pixels.shape[:2]
    if pixels.dtype != np.uint8 or pixels.shape not in {(height, width), (height, width, 3)} or not pixels.size:
        raise ValueError(f"not an image: {pixels.shape} {pixels.dtype}")
    rows = np.zeros((height, 1 + pixels[0].size), np.uint8)  # every row begins with its filter: none
    rows[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, _RGB if pixels.ndim == 3 else _GREY, 0, 0, 0)
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", _stored(rows.tobytes())) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _stored(data: bytes) -> bytes:
    """A zlib stream of stored blocks."""
    parts = [b"\x78\x01"]
    for start in range(0, len(data), _BLOCK):
        block = data[start : start + _BLOCK]
        last = start + _BLOCK >= len(data)
        parts.append(struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF) + block)
    return b"".join(parts) + struct.pack(">I", zlib.adler32(data))
