"""From a request to a response: the checks, then one of a few fixed places. No path from a browser is opened."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, Protocol, TypeVar

from pydantic import ValidationError

from dalcli.labeling.clerk import Clerk
from dalcli.labeling.desk import Desk, RefusedError
from dalcli.labeling.guard import HEADERS, IMAGE_HEADERS, Guard
from dalcli.labeling.messages import Answer, Undo, Visit
from dalcli.labeling.pictures import picture
from dalcli.state.database import Connection
from dalcli.state.workspace import Workspace

MAX_BODY = 16_384
_IMAGE = re.compile(r"image/(s-[0-9a-f]{32})")
_KINDS = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
JSON = "application/json"


class Headers(Protocol):
    """A request's headers, by name in any case."""

    def get(self, name: str, /) -> str | None: ...


@dataclass(frozen=True)
class Response:
    """What is sent back."""

    status: int
    kind: str
    data: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: HEADERS)

    @classmethod
    def of(cls, status: int, document: object) -> Response:
        """A JSON document, of dataclasses too."""
        text = json.dumps(document, ensure_ascii=False, default=vars)
        return cls(status, JSON, text.encode(errors="backslashreplace"))


Message = TypeVar("Message", Visit, Answer, Undo)


class Site:
    """All that this server has to offer."""

    def __init__(self, guard: Guard, clerk: Clerk, workspace: Workspace) -> None:
        self._guard = guard
        self._clerk = clerk
        self._workspace = workspace
        self._actions: dict[str, Callable[[bytes], Any]] = {
            "api/next": lambda body: self._call(Visit, body, Desk.next),
            "api/answer": lambda body: self._call(Answer, body, Desk.answer),
            "api/undo": lambda body: self._call(Undo, body, Desk.undo),
            "api/leave": lambda body: self._call(Visit, body, Desk.leave),
        }

    def respond(self, method: str, target: str, headers: Headers, body: bytes = b"") -> Response:
        """Answer one request.

        Raises:
            RefusedError: it cannot be met.
            DalcliError: nothing could be recorded.
        """
        place = self._place(target, headers)
        if place is None:
            return Response(301, "text/plain", b"", HEADERS | {"Location": f"{target.split('?', maxsplit=1)[0]}/"})
        offered = "POST" if place in self._actions else "GET"
        known = offered == "POST" or place == "api/setup" or place in assets() or _IMAGE.fullmatch(place)
        if not known:
            raise RefusedError(404, "there is nothing here")
        if method != offered:
            raise RefusedError(405, f"{offered} it")
        origin, site, host = headers.get("Origin"), headers.get("Sec-Fetch-Site"), headers.get("Host")
        if place != "" and not self._guard.same_origin(origin, site, host):
            raise RefusedError(403, "asked from a page of another site")
        return self._get(place) if method == "GET" else self._post(place, headers, body)

    def _place(self, target: str, headers: Headers) -> str | None:
        """What stands behind the token; None where the slash after it was left out."""
        if not self._guard.knows_host(headers.get("Host")):
            raise RefusedError(421, "this server does not go by that name: see --host")
        token, slash, place = target.split("?", maxsplit=1)[0].removeprefix("/").partition("/")
        if not self._guard.knows_token(token):
            raise RefusedError(404, "there is nothing here: is the address complete?")
        return place if slash else None

    def _get(self, place: str) -> Response:
        found = _IMAGE.fullmatch(place)
        if found:
            sample_id = found[1]
            image = self._clerk.ask(lambda desk, connection: desk.image(connection, sample_id))
            shown = picture(self._workspace, image)
            return Response(200, shown.kind, shown.data, IMAGE_HEADERS)
        if place == "api/setup":
            return Response.of(200, self._clerk.ask(lambda desk, connection: desk.setup(connection)))
        return assets()[place]

    def _post(self, place: str, headers: Headers, body: bytes) -> Response:
        if (headers.get("Content-Type") or "").partition(";")[0].strip().lower() != JSON:
            raise RefusedError(415, f"send {JSON}")
        return Response.of(200, self._actions[place](body))

    def _call(self, kind: type[Message], body: bytes, action: Callable[[Desk, Connection, Message], Any]) -> Any:
        try:
            message = kind.model_validate_json(body)
        except (ValidationError, RecursionError) as error:
            where = error.errors()[0]["loc"] if isinstance(error, ValidationError) else ()
            raise RefusedError(400, f"not understood: {'.'.join(map(str, where)) or 'the message'}") from None
        return self._clerk.ask(lambda desk, connection: action(desk, connection, message))


@cache
def assets() -> dict[str, Response]:
    """The files of the page, by the place where they are found; read once."""
    folder = resources.files("dalcli.labeling") / "page"
    found = {}
    for entry in folder.iterdir():
        kind = _KINDS.get(entry.name.rpartition(".")[2])
        if kind is not None:
            found["" if entry.name == "label.html" else entry.name] = Response(200, kind, entry.read_bytes())
    return found
