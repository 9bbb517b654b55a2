"""A page as one HTML file: no script, nothing from elsewhere, every value escaped.

The style sheet's hash is in the page's own Content-Security-Policy: a browser takes no other style, and nothing else at
all but pictures that are in the file.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from dalcli.report.blocks import Page
from dalcli.report.svg import drawn, key
from dalcli.report.text import clean


def html(page: Page) -> bytes:
    """The file's content."""
    style = _style()
    text = _template().render(page=page, style=Markup(style), style_hash=_csp_hash(style))
    return text.encode("utf-8", errors="backslashreplace")


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=False,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=lambda value: clean(value) if type(value) is str else value,
    )
    environment.globals.update(drawn=drawn, key=key, kind_of=lambda block: type(block).__name__, data_uri=_data_uri)
    return environment.from_string(_part("report.html"))


def _style() -> str:
    return _part("report.css")


def _part(name: str) -> str:
    return (resources.files("dalcli.report") / "page" / name).read_text(encoding="utf-8")


def _csp_hash(style: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()


def _data_uri(jpeg: bytes) -> Markup:
    return Markup("data:image/jpeg;base64," + base64.b64encode(jpeg).decode())
