"""XML, element by element, from files that nobody vouches for.

Python's own parser (expat) does the work. What makes XML dangerous needs a document type declaration: entities that
grow to gigabytes, files and addresses that are fetched. Exports have none, so one is refused outright, and nothing
else has to be guarded against but sizes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeVar
from xml.parsers import expat

from dalcli.data.text import TextInput
from dalcli.errors import BadInputError

_CHUNK = 1 << 16
Found = TypeVar("Found")
_DEEPEST = 64
_LONGEST = 1 << 24  # bytes in which nothing is found


class Element(NamedTuple):
    """The start of an element (``attributes`` is a mapping) or its end (None), and its line."""

    name: str
    attributes: Mapping[str, str] | None
    line: int


class GuardedParser:
    """expat, with what makes XML dangerous refused; handlers of elements and text are the caller's."""

    def __init__(self, name: str) -> None:
        self.expat = expat.ParserCreate()
        self.expat.StartDoctypeDeclHandler = self._doctype
        self.name = name

    def feed(self, chunk: bytes, last: bool) -> None:
        """Parse on; BadInputError naming the line where it is no XML."""
        try:
            self.expat.Parse(chunk, last)
        except expat.ExpatError as error:
            reason = expat.ErrorString(error.code) or "is not XML"
            where = f"{self.name}, line {error.lineno}"
            raise BadInputError(f"{where}: {reason}.", "Is the file complete? Export it again.") from None
        except (ValueError, LookupError, UnicodeError) as error:  # an encoding that Python lacks
            raise self.error(str(error), "Save it as UTF-8.") from None

    def error(self, reason: str, remedy: str | None = None) -> BadInputError:
        """What is wrong where the parser is."""
        return BadInputError(f"{self.name}, line {self.expat.CurrentLineNumber}: {reason}.", remedy)

    def results(self, source: TextInput, found: list[Found]) -> Iterator[Found]:
        """What the handlers put into ``found``, while the file is read; too much of it without any is refused."""
        silent = 0
        with source.open() as file:
            while chunk := file.read(_CHUNK):
                self.feed(chunk, False)
                silent = 0 if found else silent + len(chunk)
                if silent > _LONGEST:
                    raise self.error(f"{_LONGEST:,} bytes without anything to be read")
                yield from found
                found.clear()
            self.feed(b"", True)
            yield from found

    def _doctype(self, *_: object) -> None:
        raise self.error(
            "has a document type declaration (<!DOCTYPE>), which is refused",
            "Exports of labels have none: it could make the file read others, or grow without end.",
        )


def elements(source: TextInput) -> Iterator[Element]:
    """Starts and ends of all elements, in order.

    Raises:
        BadInputError: naming the line: no well-formed XML, a document type declaration, nested too deep, too long.
    """
    parser = GuardedParser(source.name)
    found: list[Element] = []
    depth = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEEPEST:
            raise parser.error(f"elements are nested more than {_DEEPEST} deep")
        found.append(Element(name, attributes, parser.expat.CurrentLineNumber))

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        found.append(Element(name, None, parser.expat.CurrentLineNumber))

    parser.expat.StartElementHandler, parser.expat.EndElementHandler = start, end
    return parser.results(source, found)
