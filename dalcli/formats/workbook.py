"""Excel workbooks (Office Open XML, ECMA-376) as far as labels need them: sheets, and the values of their cells.

A cell is a text, a whole number, a number, true or false, a date (a number whose style says so), nothing, or Unusable.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from posixpath import join, normpath

from dalcli.errors import BadInputError
from dalcli.formats.source import Archive
from dalcli.formats.xml_stream import Element, GuardedParser, elements

BOOK = "xl/workbook.xml"
_RELATIONS = "xl/_rels/workbook.xml.rels"
_STYLES = "xl/styles.xml"
_STRINGS = "xl/sharedStrings.xml"
_MOST_BYTES = 1 << 30
_MOST_STRINGS = 1 << 28
_LAST_COLUMN = 16_384
_CELL = re.compile(r"([A-Z]{1,3})([0-9]{1,7})")
# Numbers of built-in formats that show dates and times (ECMA-376, 18.8.30, with those of East Asian locales).
_DATE_FORMATS = frozenset({*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)})
_NO_CODE = re.compile(r'"[^"]*"|\\.|\[[^\]]*\]|_.|\*.')  # what a format shows as it is
_DATE_CODE = re.compile(r"[dmyhs]", re.IGNORECASE)


class Unusable(str):
    """A cell that has no value: the text says why."""

    __slots__ = ()


class Workbook:
    """A workbook that is read sheet by sheet; BadInputError from whatever is damaged in it."""

    def __init__(self, name: str, archive: Archive) -> None:
        self._archive = archive
        sizes = {info.filename: info.file_size for info in archive.zip.infolist()}
        if sum(sizes.values()) > _MOST_BYTES or sizes.get(_STRINGS, 0) > _MOST_STRINGS:
            raise BadInputError(f"{name} unpacks to {sum(sizes.values()):,} bytes: refused.", "Save it as CSV UTF-8.")
        self._begin = datetime(1899, 12, 30)
        self.sheets = self._sheets()

    def rows(self, sheet: str) -> Iterator[tuple[int, Sequence[object]]]:
        """Number and cells of every row of a sheet."""
        text = self._archive.text(sheet)
        found = _Sheet(text.name, self)
        return found.parser.results(text, found.rows)

    @cached_property
    def strings(self) -> Sequence[str]:
        """The texts that cells share."""
        if _STRINGS not in self._archive.names:
            return []
        text = self._archive.text(_STRINGS)
        found = _Strings(text.name)
        return list(found.parser.results(text, found.strings))

    @cached_property
    def date_styles(self) -> frozenset[str]:
        """The numbers of the styles that show a number as a date or time."""
        own: dict[str, str] = {}
        styles: list[str] = []
        inside = False
        for element in self._elements(_STYLES):
            name = _local(element.name)
            if name == "cellXfs":
                inside = element.attributes is not None
            elif element.attributes is not None and name == "numFmt":
                own[element.attributes.get("numFmtId", "")] = element.attributes.get("formatCode", "")
            elif element.attributes is not None and name == "xf" and inside:
                styles.append(element.attributes.get("numFmtId", "0"))
        return frozenset(str(n) for n, number in enumerate(styles) if _shows_dates(number, own))

    def date(self, days: float) -> object:
        """What a number means as a date."""
        return self._begin + timedelta(days=days)

    def _sheets(self) -> list[str]:
        """The files of its visible sheets, in order; of all if none is visible."""
        places = {
            relation.attributes.get("Id"): normpath(join("xl", relation.attributes.get("Target", ""))).lstrip("/")
            for relation in self._elements(_RELATIONS)
            if relation.attributes is not None and _local(relation.name) == "Relationship"
        }
        found: list[tuple[bool, str]] = []
        for element in self._elements(BOOK):
            if element.attributes is None:
                continue
            if _local(element.name) == "workbookPr" and element.attributes.get("date1904") in {"1", "true"}:
                self._begin = datetime(1904, 1, 1)
            elif _local(element.name) == "sheet":
                ids = [value for name, value in element.attributes.items() if _local(name) == "id"]
                place = places.get(ids[0] if ids else None, "")
                found.append((element.attributes.get("state", "visible") == "visible", place))
        every = [(shown, place) for shown, place in found if place in self._archive.names]
        return [place for shown, place in every if shown] or [place for _, place in every]

    def _elements(self, name: str) -> Iterator[Element]:
        return elements(self._archive.text(name)) if name in self._archive.names else iter(())


def _shows_dates(number: str, own: dict[str, str]) -> bool:
    if number in own:
        return _DATE_CODE.search(_NO_CODE.sub("", own[number])) is not None
    return number.isascii() and number.isdigit() and len(number) < 4 and int(number) in _DATE_FORMATS


def _local(name: str) -> str:
    return name.rpartition(":")[2]


class _Strings:
    """Handlers of the elements of the shared texts; ``strings`` collects them."""

    def __init__(self, name: str) -> None:
        self.strings: list[str] = []
        self.parser = GuardedParser(name)
        self.parser.expat.buffer_text = True
        self.parser.expat.StartElementHandler = self._start
        self.parser.expat.EndElementHandler = self._end
        self._text: list[str] = []
        self._reading = False  # how to pronounce East Asian text (rPh) is no part of it

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        name = _local(name)
        if name == "si":
            self._text, self._reading = [], False
        elif name == "rPh":
            self._reading = True
        elif name == "t" and not self._reading:
            self.parser.expat.CharacterDataHandler = self._text.append

    def _end(self, name: str) -> None:
        name = _local(name)
        if name == "t":
            self.parser.expat.CharacterDataHandler = None
        elif name == "rPh":
            self._reading = False
        elif name == "si":
            self.strings.append("".join(self._text))


class _Sheet:
    """Handlers of the elements of a sheet; ``rows`` collects what they found."""

    def __init__(self, name: str, book: Workbook) -> None:
        self.rows: list[tuple[int, Sequence[object]]] = []
        self.parser = GuardedParser(name)
        self.parser.expat.buffer_text = True
        self.parser.expat.StartElementHandler = self._start
        self.parser.expat.EndElementHandler = self._end
        self._book = book
        self._number = 0
        self._row: list[object] = []
        self._kind, self._style, self._column = "n", "0", -1
        self._text: list[str] = []
        self._formula = False
        self._columns: dict[str, int] = {}
        self._plain: dict[str, str] = {}

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        name = self._plain.get(name) or self._plain.setdefault(name, name.rpartition(":")[2])
        if name == "c":
            self._kind, self._style = attributes.get("t", "n"), attributes.get("s", "0")
            self._column = self._place(attributes["r"]) if "r" in attributes else self._column + 1
            self._text, self._formula = [], False
        elif name in {"v", "t"}:
            self.parser.expat.CharacterDataHandler = self._text.append
        elif name == "f":
            self._formula = True
        elif name == "row":
            self._number = self._row_number(attributes.get("r"))
            self._row, self._column = [], -1

    def _end(self, name: str) -> None:
        name = self._plain.get(name, name)
        if name in {"v", "t"}:
            self.parser.expat.CharacterDataHandler = None
        elif name == "c":
            value = self._value("".join(self._text))
            if value is not None:
                self._row += [None] * (self._column + 1 - len(self._row))
                self._row[self._column] = value
        elif name == "row":
            self.rows.append((self._number, self._row))

    def _row_number(self, written: str | None) -> int:
        if written is None:
            return self._number + 1
        if not (written.isascii() and written.isdigit() and len(written) < 9):
            raise self.parser.error(f"row {written[:20]!r} has no number")
        return int(written)

    def _place(self, reference: str) -> int:
        """The column of ``C7``, from 0."""
        letters = reference.rstrip("0123456789")
        column = self._columns.get(letters)
        if column is None:
            if _CELL.fullmatch(reference) is None:
                raise self.parser.error(f"cell {reference[:20]!r} is nowhere")
            column = 0
            for letter in letters:
                column = column * 26 + ord(letter) - 64
            if column > _LAST_COLUMN:
                raise self.parser.error(f"cell {reference!r} is in no column that there can be")
            column = self._columns[letters] = column - 1
        return column

    def _value(self, text: str) -> object:
        kind = self._kind
        if kind == "s":
            if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) < len(self._book.strings)):
                raise self.parser.error(f"text {text[:20]!r} is not among those of the workbook")
            return self._book.strings[int(text)]
        if kind in {"str", "inlineStr"}:
            return text
        if not text:
            return Unusable("has a formula that was never computed") if self._formula else None
        if kind == "b":
            return text == "1"
        if kind == "e":
            return Unusable(f"is {text}: a formula has failed in a spreadsheet")
        return text if kind == "d" else self._number_of(text)

    def _number_of(self, text: str) -> object:
        try:
            value = float(text)
            if self._style in self._book.date_styles:
                return self._book.date(value)
            return int(value) if value.is_integer() and abs(value) < 1e15 else value
        except (ValueError, OverflowError):
            raise self.parser.error(f"{text[:20]!r} is no number") from None
