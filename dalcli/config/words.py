"""Numbers and names as people write and read them: sizes in bytes, counted things, what a misspelling meant."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches

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


def counted(count: int, thing: str, things: str | None = None) -> str:
    """``1 label``, ``2 labels``, ``1 class``, ``2 classes`` (where an s does not do, say what does)."""
    return f"{count} {thing if count == 1 else things or f'{thing}s'}"


def plural(count: int, thing: str, things: str | None = None) -> str:
    """The same with thousands apart, for pages that people read: ``1,250 labels``."""
    return f"{count:,} {thing if count == 1 else things or f'{thing}s'}"


def did_you_mean(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate closest to ``word`` regardless of case, or None if nothing is close.

    ``word`` itself is never suggested. Ties go to the candidate that comes first.
    """
    spellings: dict[str, str] = {}
    for candidate in candidates:
        if candidate != word:
            spellings.setdefault(candidate.casefold(), candidate)
    matches = get_close_matches(word.casefold(), spellings, n=1, cutoff=0.6)
    return spellings[matches[0]] if matches else None


def suggestion(word: str, candidates: Iterable[str]) -> str:
    """``": did you mean 'cat'?"`` to append to a message, or an empty text if nothing is close."""
    guess = did_you_mean(word, candidates)
    return "" if guess is None else f": did you mean {guess!r}?"


_SPACES = dict.fromkeys(map(ord, "\u00a0\u2007\u202f\u2009\u3000"), " ")
_INVISIBLE = dict.fromkeys(map(ord, "\ufeff\u200b\u2060\u200e\u200f\u00ad"))


def text_key(text: str) -> str:
    """Equal for texts that look the same to people: é in one character or two, any kind of space, none around it."""
    if text.isascii():
        return text.strip()
    return unicodedata.normalize("NFC", text).translate(_SPACES | _INVISIBLE).strip()
