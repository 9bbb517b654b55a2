"""XML, element by element, from files that nobody vouches for.

Python's own parser (expat) does the work. What makes XML dangerous needs a document type declaration: entities that
grow to gigabytes, files and addresses that are fetched. Exports have none, so one is refused outright, and nothing
else has to be guarded against but sizes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple
from xml.parsers import expat

from dalcli.data.text import TextInput
from dalcli.errors import BadInputError

_CHUNK = 1 << 16
_DEEPEST = 64
_LONGEST = 1 << 24  # bytes without the begin or end of an element


class Element(NamedTuple):
    """The start of an element (``attributes`` is a mapping) or its end (None), and its line."""

    name: str
    attributes: Mapping[str, str] | None
    line: int


class _Handlers:
    """Collects what the parser finds in one chunk."""

    def __init__(self, name: str) -> None:
        self.found: list[Element] = []
        self.depth = 0
        self._name = name
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = False
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.StartDoctypeDeclHandler = self._doctype

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise BadInputError(f"{self._name}, line {self._line}: elements are nested more than {_DEEPEST} deep.")
        self.found.append(Element(name, attributes, self._line))

    def _end(self, name: str) -> None:
        self.depth -= 1
        self.found.append(Element(name, None, self._line))

    def _doctype(self, *_: object) -> None:
        raise BadInputError(
            f"{self._name}, line {self._line}: has a document type declaration (<!DOCTYPE>), which is refused.",
            "Exports of labels have none: it could make the file read others, or grow without end.",
        )

    @property
    def _line(self) -> int:
        return self.parser.CurrentLineNumber


def elements(source: TextInput) -> Iterator[Element]:
    """Starts and ends of all elements, in order.

    Raises:
        BadInputError: naming the line: no well-formed XML, a document type declaration, nested too deep, too long.
    """
    handlers = _Handlers(source.name)
    silent = 0
    with source.open() as file:
        while chunk := file.read(_CHUNK):
            _feed(source.name, handlers, chunk, False)
            silent = 0 if handlers.found else silent + len(chunk)
            if silent > _LONGEST:
                raise BadInputError(
                    f"{source.name}, line {handlers.parser.CurrentLineNumber}: "
                    f"{_LONGEST:,} bytes without the begin or end of an element."
                )
            yield from handlers.found
            handlers.found.clear()
        _feed(source.name, handlers, b"", True)
        yield from handlers.found


def _feed(name: str, handlers: _Handlers, chunk: bytes, last: bool) -> None:
    try:
        handlers.parser.Parse(chunk, last)
    except expat.ExpatError as error:
        reason = expat.ErrorString(error.code) or "is not XML"
        raise BadInputError(
            f"{name}, line {error.lineno}: {reason}.", "Is the file complete? Export it again."
        ) from None
    except (ValueError, LookupError, UnicodeError) as error:  # an encoding that Python lacks
        line = handlers.parser.CurrentLineNumber
        raise BadInputError(f"{name}, line {line}: {error}.", "Save it as UTF-8.") from None
