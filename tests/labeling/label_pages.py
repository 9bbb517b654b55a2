"""Labeling pages of small workspaces, served in this process, and people who use them without a browser."""

from __future__ import annotations

import atexit
import http.client
import json
import secrets
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dalcli_runner import ok
from workspaces import make, session

from dalcli.labeling.request import LabelRequest, LabelResult
from dalcli.labeling.run import OpenPage, opened

PATIENCE = 20.0


def handed_out(root: Path, count: int = 6, *, images: int = 12, config: str = "") -> Path:
    """A workspace with an open batch; made once for each size, then copied."""
    made = _FOLDER / f"{count}-{images}-{config.encode().hex()}"
    if not made.exists():
        make(made, images, config=config)
        ok(made, "query", "--budget", str(count), "--strategy", "random")
    shutil.copytree(made, root)
    return root


_FOLDER = Path(tempfile.mkdtemp(prefix="dalcli-label-tests-"))
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)


@dataclass(frozen=True)
class Reply:
    """What came back from the server."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Served:
    """A page that is being served."""

    page: OpenPage

    @property
    def port(self) -> int:
        return int(self.page.server.server_port)

    @property
    def root(self) -> str:
        """``/token/``."""
        return "/" + self.page.address.split("/", 3)[3]

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def get(self, place: str, **headers: str) -> Reply:
        return self.ask("GET", self.root + place, headers=headers)

    def post(self, place: str, message: object, **headers: str) -> Reply:
        kind = {"Content-Type": "application/json"} | headers
        return self.ask("POST", f"{self.root}api/{place}", json.dumps(message).encode(), kind)

    def person(self, annotator: str = "") -> Person:
        return Person(self, annotator)

    def result(self) -> LabelResult:
        return self.page.clerk.ask(lambda desk, connection: desk.result(connection))


@dataclass
class Person:
    """Somebody with the page open."""

    served: Served
    annotator: str
    page: str = field(default_factory=lambda: secrets.token_hex(16))

    def say(self, place: str, **message: object) -> Reply:
        return self.served.post(place, {"page": self.page, "annotator": self.annotator, **message})

    def next(self) -> Any:
        return self._done(self.say("next"))

    def answer(self, sample: str, **what: object) -> Any:
        return self._done(self.say("answer", sample=sample, **what))

    def undo(self, vote: int) -> Any:
        return self._done(self.say("undo", vote=vote))

    def looking_at(self) -> str:
        return str(self.next()["items"][0]["sample"])

    def _done(self, reply: Reply) -> Any:
        assert reply.status == 200, reply.body
        return reply.json


@contextmanager
def serving(root: Path, request: LabelRequest | None = None) -> Iterator[Served]:
    """Serve the page of a workspace while the block runs."""
    with session(root) as opened_session, opened(opened_session, request or LabelRequest()) as page:
        thread = threading.Thread(target=page.server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield Served(page)
        finally:
            page.server.shutdown()
            thread.join()
