"""The labeling interface of a project: what Label Studio shows for the workspace's classes.

Up to nine classes have keys. Many classes come with a box to search them by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import quoteattr

from dalcli.formats.label_studio import CONTROL, IMAGE
from dalcli.state import classes
from dalcli.state.database import Connection

MADE_HERE = "<!-- made by dalcli label-studio config: kept up to date by push -->"
KEYS = 9
FEW = 20


def class_names(connection: Connection) -> tuple[str, ...]:
    """The classes that can be answered today: those merged into others are left out."""
    names, counted = classes.names(connection), classes.counted_as(connection)
    return tuple(name for position, name in enumerate(names) if counted[position] == position)


def interface(names: Sequence[str]) -> str:
    """The XML of it."""
    search = (
        f'  <Filter name="search" toName="{CONTROL}" minlength="0" hotkey="shift+f"/>\n' if len(names) > FEW else ""
    )
    choices = "".join(f"    {_choice(name, number)}\n" for number, name in enumerate(names, start=1))
    return (
        f"{MADE_HERE}\n<View>\n"
        f'  <Image name="{IMAGE}" value="${IMAGE}" zoom="true" zoomControl="true"/>\n'
        f"{search}"
        f'  <Choices name="{CONTROL}" toName="{IMAGE}" choice="single" showInline="true">\n{choices}  </Choices>\n'
        "</View>\n"
    )


def _choice(name: str, number: int) -> str:
    key = f' hotkey="{number}"' if number <= KEYS else ""
    return f"<Choice value={quoteattr(name)}{key}/>"


def read_as_data(names: Sequence[str]) -> list[str]:
    """Names that Label Studio takes for references to a task's data, not for names."""
    return [name for name in names if name.startswith("$")]
