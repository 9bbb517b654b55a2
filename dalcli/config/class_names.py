"""What a class may be called, wherever the name comes from: `init`, the configuration, label files, a simulation."""

from __future__ import annotations

from collections.abc import Sequence


def problem_with_classes(names: Sequence[object]) -> str | None:
    """Why ``names``, from wherever they come, cannot be a class list; None if they can."""
    for name in names:
        # YAML reads `no`, `1` and `1.0` as something else than the text a label file will contain.
        if not isinstance(name, str):
            return f"class {name!r} is not text: put it in quotes"
        # Cells of a label file are read without the spaces around them, so such a class could never be named.
        if not name.strip() or name != name.strip():
            return f"class {name!r} is empty or has spaces around it"
        try:
            name.encode()
        except UnicodeEncodeError:
            return f"class {name!r} is not valid UTF-8 text"
    twice = next((name for index, name in enumerate(names) if name in names[:index]), None)
    return None if twice is None else f"class {twice!r} is listed twice"
