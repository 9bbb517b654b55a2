"""What the objects of labeling tools have in common: how they name a sample, and which of several answers is meant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from dalcli.data.identity import is_sample_id
from dalcli.data.manifest import PATH_COLUMNS
from dalcli.errors import BadInputError
from dalcli.formats.cells import BadCellError
from dalcli.formats.json_stream import as_text

NAMELESS = "names no sample: neither a sample_id nor a path"
# What tools call the answer where nobody gave it another name.
ANSWER_COLUMNS = ("label", "choice", "choices", "class", "category")
_LIKE_A_FILE = re.compile(r".{0,4000}\.[A-Za-z0-9]{2,5}", re.DOTALL)


def sample_names(fields: Mapping[str, object]) -> tuple[str, tuple[str, ...]]:
    """The name of the sample that ``fields`` describe, and others to try: its id if there is one, else its paths.

    A ``sample_id`` that is none of ours (a tool made a number of it, or somebody else chose it) is passed over.
    """
    identity = fields.get("sample_id")
    if isinstance(identity, str) and is_sample_id(identity.strip().lower()):
        return identity.strip().lower(), ()
    found = [as_text(fields[key], key) for key in PATH_COLUMNS if isinstance(fields.get(key), str)]
    found = [path for path in found if path.strip() and not path.startswith("data:")]
    if not found:
        texts = [value for value in fields.values() if isinstance(value, str) and _LIKE_A_FILE.fullmatch(value)]
        found = [as_text(text, "the path") for text in texts]
    if not found:
        raise BadCellError(NAMELESS)
    return found[0], tuple(found[1:])


def answer_key(name: str, candidates: Iterable[str], wanted: str | None, what: str) -> str | None:
    """Which of the ``candidates`` holds the answers: the wanted one, or the only one; None if there is none at all.

    Raises:
        BadInputError: several, or not the wanted one; ``what`` they are (columns, controls, questions).
    """
    found = list(dict.fromkeys(candidates))
    if wanted is not None:
        if wanted not in found and found:
            raise BadInputError(
                f"{name}: --label-column {wanted!r} is none of its {what}: {listed(found)}.", "Name one of them."
            )
        return wanted
    if len(found) > 1:
        raise BadInputError(
            f"{name}: several {what} could be the label: {listed(found)}.", "Say which: --label-column NAME."
        )
    return found[0] if found else None


def one_class(choices: Sequence[object]) -> str | None:
    """The class that was chosen; None if none was.

    Raises:
        BadCellError: several were.
    """
    names = list(dict.fromkeys(as_text(choice, "the class").strip() for choice in choices))
    names = [name for name in names if name]
    if len(names) > 1:
        raise BadCellError(f"several classes were chosen: {listed(names)}; an image has one label")
    return names[0] if names else None


def listed(names: Iterable[str], most: int = 12) -> str:
    """``'a', 'b'``, and how many more there are."""
    every = list(names)
    shown = ", ".join(repr(name) for name in every[:most])
    return shown if len(every) <= most else f"{shown} and {len(every) - most} more"
