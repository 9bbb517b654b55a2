"""A report's page as somebody reads it who does not know how it was made: by Python's own HTML parser."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from dalcli_runner import ok

VOID = {"meta", "img", "br", "hr", "link", "input", "line", "circle", "rect", "polygon", "polyline"}
SECTIONS = [
    "learning-curve", "what-next", "cost", "saved", "labels-by-model", "forecasts", "classes", "confusion",
    "next-batch", "most-confused", "suspects", "annotators", "diagnosis", "made-with",
]  # fmt: skip


@dataclass
class Element:
    """One element with its children, elements and texts."""

    tag: str
    attributes: dict[str, str | None]
    children: list[Element | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All text in it, white space made one."""
        return " ".join("".join(c if isinstance(c, str) else f" {c.text} " for c in self.children).split())

    def all(self, tag: str = "", **wanted: str) -> list[Element]:
        """Every element below with this tag and these attributes (``class_`` one of its classes), in order."""
        found = []
        for child in self.children:
            if isinstance(child, str):
                continue
            if tag in {"", child.tag} and all(child.has(name, value) for name, value in wanted.items()):
                found.append(child)
            found += child.all(tag, **wanted)
        return found

    def one(self, tag: str = "", **wanted: str) -> Element:
        (found,) = self.all(tag, **wanted)
        return found

    def has(self, name: str, value: str) -> bool:
        if name == "class_":
            return value in (self.attributes.get("class") or "").split()
        return self.attributes.get(name) == value

    def table(self, caption: str) -> list[list[str]]:
        """The rows, without header, of the tables whose caption begins like this; what is folded away included."""
        found = [t for t in self.all("table") if t.one("caption").text.startswith(caption)]
        assert found, caption
        rows = [row for t in found for body in t.all("tbody") for row in body.all("tr")]
        return [[cell.text for cell in row.children if isinstance(cell, Element)] for row in rows]


class _Reader(HTMLParser):
    """Refuses what is not closed, or closed twice."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), (tag, attrs)
        element = Element(tag, dict(attrs))
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].children.append(Element(tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, (self.open[-1].tag, tag)
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def read(text: str) -> Element:
    """The whole page; AssertionError if elements do not nest."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    assert len(reader.open) == 1, [element.tag for element in reader.open]
    return reader.root


def page(root: Path, *options: str) -> Element:
    """What ``dalcli report`` prints, read."""
    return read(ok(root, "report", *options).out.decode())


def document(root: Path, *options: str) -> Any:
    """``dalcli report --json``."""
    return ok(root, "report", "--json", *options).json
