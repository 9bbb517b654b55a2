"""JSON that is too long to be held at once: the items of an array, one by one.

An item may have 16 Mi characters and no more levels than Python's parser takes, so that no file can fill the memory.
Texts and numbers in it are looked up with the functions at the end, which say what is missing and where.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from dalcli.data.text import TextInput
from dalcli.errors import BadInputError
from dalcli.formats.cells import BadCellError

ITEM_LIMIT = 1 << 24
_CHUNK = 1 << 18
_DECODER = json.JSONDecoder()
_CUT = 16  # a value that the buffer cuts off fails at most so far before the end of it


class Item(NamedTuple):
    """One item of an array: its number from 1, and its value."""

    number: int
    value: object


class JsonReader:
    """A cursor in a JSON text. Everything raises BadInputError that names the line where the text is no JSON."""

    def __init__(self, source: TextInput) -> None:
        self._name = source.name
        self._chunks = source.chunks(_CHUNK)
        self._text = ""
        self._at = 0
        self._line = 1

    def peek(self) -> str:
        """The next character that is no space; '' at the end."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in " \t\r\n\ufeff":
                    return self._text[self._at]
                self._at += 1
            if not self._more(1):
                return ""

    def expect(self, characters: str) -> str:
        """Take the next character, which must be one of ``characters``."""
        found = self.peek()
        if not found or found not in characters:
            wanted = " or ".join(repr(character) for character in characters)
            raise self.error(f"expected {wanted}, found {found!r}" if found else f"ends where {wanted} is expected")
        self._at += 1
        return found

    def value(self) -> object:
        """The next value, whole."""
        self.peek()
        while True:
            try:
                found, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                broken = error.pos < len(self._text) - _CUT and not error.msg.startswith("Unterminated string")
                if broken or not self._more(len(self._text) - self._at):
                    raise self.error(f"is not JSON: {error.msg[0].lower()}{error.msg[1:]}", error.pos) from None
            except RecursionError:
                raise self.error("is nested too deeply") from None
            except ValueError:
                raise self.error("has a number of too many digits") from None
            else:
                # A number at the end of the buffer may go on.
                if end < len(self._text) or self._text[end - 1] in '}]"' or not self._more(1):
                    self._at = end
                    return found

    def items(self) -> Iterator[Item]:
        """The items of the array that begins here."""
        self.expect("[")
        if self.peek() == "]":
            self.expect("]")
            return
        number = 0
        while True:
            number += 1
            yield Item(number, self.value())
            if self.expect(",]") == "]":
                return

    def members(self) -> Iterator[str]:
        """The keys of the object that begins here, one by one; the caller takes the value before the next one."""
        self.expect("{")
        if self.peek() == "}":
            self.expect("}")
            return
        while True:
            if self.peek() != '"':
                self.expect('"')
            yield str(self.value())
            if self.expect(",}") == "}":
                return

    def colon(self) -> None:
        """What stands between a key and its value."""
        self.expect(":")

    def end(self) -> None:
        """Nothing but spaces may follow."""
        if self.peek():
            raise self.error("has something behind its end")

    def error(self, reason: str, position: int | None = None) -> BadInputError:
        """What is wrong at a position of the buffer, which is a line of the file."""
        line = self._line + self._text.count("\n", 0, self._at if position is None else position)
        return BadInputError(f"{self._name}, line {line}: {reason}.", "Is the file complete? Export it again.")

    def _more(self, least: int) -> bool:
        """Read on, at least as much as there is: else a long value would be parsed again and again."""
        if len(self._text) - self._at > ITEM_LIMIT:
            raise self.error(f"has a value of more than {ITEM_LIMIT:,} characters")
        self._line += self._text.count("\n", 0, self._at)
        parts = [self._text[self._at :]]
        read = 0
        while read < least and (chunk := next(self._chunks, "")):
            parts.append(chunk)
            read += len(chunk)
        self._text, self._at = "".join(parts), 0
        return read > 0


def array_items(source: TextInput) -> Iterator[Item]:
    """The items of a file that is one JSON array."""
    reader = JsonReader(source)
    yield from reader.items()
    reader.end()


def json_lines(source: TextInput) -> Iterator[Item]:
    """The values of a file of JSON lines, by line; a line that is no JSON is a BadCellError as its value."""
    for number, line in enumerate(source.lines(), start=1):
        if line.strip("\ufeff \t\r\n"):
            yield Item(number, _line_value(line))


def _line_value(line: str) -> object:
    try:
        return json.loads(line.strip("\ufeff"))
    except json.JSONDecodeError as error:
        return BadCellError(f"is not JSON: {error.msg[0].lower()}{error.msg[1:]} (column {error.colno})")
    except RecursionError:
        return BadCellError("is nested too deeply")
    except ValueError:
        return BadCellError("has a number of too many digits")


def as_object(value: object) -> Mapping[str, object]:
    """``value`` if it is an object; BadCellError if not."""
    if isinstance(value, BadCellError):
        raise value
    if not isinstance(value, dict):
        raise BadCellError(f"is {_kind(value)} where an object {{...}} is expected")
    return value


def objects(value: object, what: str) -> list[Mapping[str, object]]:
    """``value`` as a list of objects; a missing one is empty."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise BadCellError(f"{what} is no list of objects")
    return value


def as_text(value: object, what: str) -> str:
    """A text or a whole number as text, '' for null; BadCellError for anything else."""
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        if abs(value) >= 10**40:
            raise BadCellError(f"{what} is a number of too many digits")
        return str(value)
    if not isinstance(value, str):
        raise BadCellError(f"{what} is {_kind(value)}, not text")
    if "\0" in value or not (value.isascii() or _is_text(value)):
        raise BadCellError(f"{what} {value[:40]!r} holds characters that no text has")
    return value


def as_amount(value: object, what: str) -> float | None:
    """A finite number of at least 0; None for null."""
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e300:
        raise BadCellError(f"{what} is not a number of at least 0")
    return float(value)


def as_flag(value: object, what: str) -> bool:
    """true or false (null: false)."""
    if value is None or isinstance(value, bool):
        return bool(value)
    if value in {0, 1}:
        return bool(value)
    raise BadCellError(f"{what} is {_kind(value)}, not true or false")


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can write
        return False
    return True


def _kind(value: object) -> str:
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")
