"""Text from outside on its way into a page: what no page may hold is taken out."""

from __future__ import annotations

import unicodedata

_KEPT = {"\n", "\t"}


def clean(text: str) -> str:
    """Without control characters, which HTML forbids and terminals obey; half characters become backslash escapes."""
    if text.isascii() and text.isprintable():
        return text
    whole = text.encode("utf-8", errors="backslashreplace").decode()
    return "".join(c for c in whole if c in _KEPT or unicodedata.category(c) != "Cc")


def one_line(text: str) -> str:
    """The same in one line, for cells and headers."""
    return " ".join(clean(text).split())
