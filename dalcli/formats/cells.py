"""The few cells of a label file that are more than text."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

_YES = frozenset({"1", "true", "yes", "y", "x"})
_NO = frozenset({"", "0", "false", "no", "n"})
# Plain decimal notation: float() would also take '1_000', 'nan' and digits of other scripts.
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
# datetime.fromisoformat alone would also take some numbers for dates.
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ]|$)|[0-9]{8}(T|$)")
# What spreadsheets take for the begin of a formula (OWASP, "CSV Injection").
_RUNS = re.compile(r"'*[=+\-@\t\r]")
# What spreadsheets make of 1-2, 3/4, 123456 and true, and what they write where a formula failed.
_MONTH = (
    r"(jan|feb|f[ée]v|m[aä]r|mrz|apr|avr|abr|may|mai|jun|juin|jul|juil|aug|ao[uû]t|ago|sep|set|okt|oct|out|nov|dec|dez|d[ée]c)"
    r"[^\W\d_]{0,6}\.?"
)
_SPREADSHEET = [
    (re.compile(r"[+-]?[0-9]+([.,][0-9]+)?[eE][+-]?[0-9]+"), "a spreadsheet has made a number of it"),
    (
        re.compile(
            rf"[0-9]{{1,2}}[-. /]{{1,2}}{_MONTH}([-. /]?[0-9]{{2,4}})?|{_MONTH}[- /][0-9]{{1,4}}"
            r"|[0-9]{1,4}(?P<between>[-./])[0-9]{1,2}(?P=between)[0-9]{1,4}( [0-9:]+)?",
            re.IGNORECASE,
        ),
        "a spreadsheet has made a date of it",
    ),
    (re.compile(r"#(N/A|NV|REF!|NAME\?|VALUE!|DIV/0!|NUM!|NULL!|#+)"), "a formula has failed in a spreadsheet"),
]


class BadCellError(Exception):
    """What is wrong with a cell, naming its column and its text."""


def flag(column: str, text: str) -> bool:
    """1, true, yes, y, x against 0, false, no, n and nothing, in any case."""
    word = text.strip().casefold()
    if word not in _YES | _NO:
        raise BadCellError(f"{column} {text.strip()!r} is neither yes (1, true, yes, y, x) nor no (0, false, no, n)")
    return word in _YES


def amount(column: str, text: str, *, decimal_comma: bool = False) -> float | None:
    """A finite number of at least 0; None for an empty cell. '1,5' is a number where commas do not part cells."""
    number = text.strip()
    if not number:
        return None
    plain = number.replace(",", ".") if decimal_comma and "." not in number else number
    value = float(plain) if _NUMBER.fullmatch(plain) else math.nan
    if not 0 <= value < math.inf:
        raise BadCellError(f"{column} {number!r} is not a number of at least 0")
    return value + 0.0  # so that -0 is 0


def moment(column: str, text: str) -> str | None:
    """An ISO 8601 date or date and time, as ISO 8601 in UTC; without an offset it is taken to be UTC already."""
    written = text.strip()
    if not written:
        return None
    try:
        if not _DATE.match(written):
            raise ValueError
        when = datetime.fromisoformat(written)
        return (when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)).isoformat()
    except (ValueError, OverflowError):
        raise BadCellError(f"{column} {written!r} is not a date and time like 2030-01-31T12:00:00Z") from None


def guarded(text: str) -> str:
    """``text`` as a cell that no spreadsheet runs: one that begins with ``= + - @`` gets an apostrophe before it."""
    return f"'{text}" if _RUNS.match(text) else text


def unguarded(text: str) -> str:
    """The inverse of :func:`guarded`, exactly: of several apostrophes one is taken off."""
    return text[1:] if text.startswith("'") and _RUNS.match(text) else text


def spreadsheet_damage(text: str) -> str | None:
    """What a spreadsheet probably did to ``text`` before it was saved; None if it looks unharmed."""
    return next((what for pattern, what in _SPREADSHEET if pattern.fullmatch(text)), None)
