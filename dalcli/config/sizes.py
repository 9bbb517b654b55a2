"""Numbers of bytes as people write and read them."""

from __future__ import annotations

import re

_UNITS = {"": 1, "B": 1} | {
    prefix + suffix: base ** (power + 1)
    for suffix, base in (("iB", 1024), ("B", 1000))
    for power, prefix in enumerate(["K", "M", "G", "T"])
}
_BY_NAME = {name.lower(): factor for name, factor in _UNITS.items()}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([a-zA-Z]*)")


def parse_bytes(text: str) -> int:
    """Bytes in ``2GiB``, ``1.5 GB``, ``512MiB`` or ``4096``.

    Raises:
        ValueError: it is none of these.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None or match[2].lower() not in _BY_NAME:
        raise ValueError("should be a number of bytes, or one with a unit: 512MiB, 2GiB, 1.5GB")
    return int(float(match[1]) * _BY_NAME[match[2].lower()])


def bytes_text(count: float) -> str:
    """``count`` bytes to three digits or so: ``512 MiB``, ``1.5 GiB``."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.3g} TiB"
