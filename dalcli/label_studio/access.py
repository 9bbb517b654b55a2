"""Where the server is and what opens it: from the environment, or from a file that nobody else can read.

The token is never stored, logged or printed: it is in no ``repr``, and no message is made of what holds it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from dalcli.errors import BadInputError

URL, TOKEN = "LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY"
_REMEDY = f"set {URL} and {TOKEN}, or name a file with both: --credentials FILE"
_MOST_BYTES = 1 << 16
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class Access:
    """``server`` is its address without a slash at the end."""

    server: str
    token: str = field(repr=False)

    @property
    def in_the_open(self) -> bool:
        """Whether the token goes over a network that anybody on the way can listen to."""
        parts = urlsplit(self.server)
        return parts.scheme == "http" and parts.hostname not in _LOOPBACK


def access(file: Path | None, environment: Mapping[str, str]) -> Access:
    """What ``file`` says, or else the environment.

    Raises:
        BadInputError: address or token are missing or malformed, or others can read the file.
    """
    found = environment if file is None else _read(file)
    place = "the environment" if file is None else str(file)
    for name in (URL, TOKEN):
        if not found.get(name, "").strip():
            raise BadInputError(f"{name} is not in {place}", _REMEDY)
    return Access(_server(found[URL].strip(), place), _token(found[TOKEN].strip(), place))


def _server(text: str, place: str) -> str:
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = None
    if not usable or not text.isascii() or not text.isprintable() or " " in text:
        raise BadInputError(f"{URL} in {place} is no address", "write it like http://localhost:8080")
    if parts.username is not None or parts.query or parts.fragment:  # it is remembered and printed
        raise BadInputError(
            f"{URL} in {place} is more than an address", f"leave user names and parameters out; {TOKEN} opens it"
        )
    return text.rstrip("/")


def _token(text: str, place: str) -> str:
    if not text.isascii() or not text.isprintable() or " " in text:
        raise BadInputError(f"{TOKEN} in {place} is no token", "copy it again from Label Studio: Account & Settings")
    return text


def _read(file: Path) -> dict[str, str]:
    """``NAME=VALUE`` lines; what is checked is the very file that is read."""
    try:
        with file.open("rb") as opened:
            status = os.fstat(opened.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise BadInputError(f"{file} is no file", _REMEDY)
            if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                mode = stat.S_IMODE(status.st_mode)
                raise BadInputError(
                    f"{file}: others can read or change it (mode {mode:o})",
                    f"chmod 600 {file}; if it lay open, make a new token, too",
                )
            text = opened.read(_MOST_BYTES).decode()
    except OSError as error:
        raise BadInputError(f"{file}: {error.strerror}", _REMEDY) from None
    except UnicodeDecodeError:
        raise BadInputError(f"{file} is no text", f"write two lines: {URL}=... and {TOKEN}=...") from None
    lines = (line.strip().removeprefix("export ") for line in text.splitlines())
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip().strip("\"'") for name, _, value in pairs}
