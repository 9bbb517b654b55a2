"""A small Label Studio in this process: the part of its API that is used, in the shapes that version 1.23 answers with.

``faults`` break it: each is taken by the first request that it names, and says when the connection is cut.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

TOKEN = "0123456789abcdef0123456789abcdef01234567"
PERSONAL = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ0b2tlbl90eXBlIjoicmVmcmVzaCJ9.c2VjcmV0"


@dataclass
class Fault:
    """``lost``: nothing was done; ``unsaid``: done, but the answer does not arrive; ``torn``: half of it does.

    A number is an HTTP status instead of an answer, with nothing done.
    """

    method: str
    path: str
    kind: Literal["lost", "unsaid", "torn"] | int
    times: int = 1


@dataclass
class FakeLabelStudio:
    """What it knows; ``root`` is its document root, None where local files are not served."""

    root: Path | None = None
    projects: dict[int, dict[str, Any]] = field(default_factory=dict)
    tasks: list[dict[str, Any]] = field(default_factory=list)
    storages: list[dict[str, Any]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    headers: list[str] = field(default_factory=list)
    bearers: dict[str, int] = field(default_factory=dict)
    bearer_uses: int = 10**9
    redirect: str | None = None
    url: str = ""
    clock: int = 0
    annotations: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)

    def answer(self, number: int, user: int, label: str | None, *, skipped: bool = False) -> dict[str, Any]:
        """A user answers task ``number``: with a class, by skipping it, or with nothing at all."""
        self.annotations += 1
        annotation: dict[str, Any] = {"id": self.annotations, "completed_by": user, "lead_time": 2.5, "task": number}
        self.change(annotation, label, skipped=skipped)
        annotation["created_at"] = annotation["updated_at"]
        next(task for task in self.tasks if task["id"] == number)["annotations"].append(annotation)
        return annotation

    def change(self, annotation: dict[str, Any], label: str | None, *, skipped: bool = False) -> None:
        """What was answered is answered differently."""
        self.clock += 1
        chosen = {"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": [label]}}
        annotation["result"] = [] if label is None else [chosen]
        annotation["was_cancelled"] = skipped
        annotation["updated_at"] = f"2026-11-26T12:{self.clock // 60:02d}:{self.clock % 60:02d}.500000Z"

    def respond(self, method: str, target: str, body: bytes, authorization: str) -> tuple[int, object]:
        place = urlsplit(target)
        query = {key: values[0] for key, values in parse_qs(place.query).items()}
        document = json.loads(body) if body else None
        if self.redirect is not None:
            return 302, self.redirect
        if place.path == "/api/token/refresh":
            if document != {"refresh": PERSONAL}:
                return 401, {"detail": "Token is invalid", "code": "token_not_valid"}
            bearer = f"access-{len(self.bearers)}"
            self.bearers[bearer] = self.bearer_uses
            return 200, {"access": bearer}
        if not self._let_in(authorization):
            return 401, {"detail": f"Invalid token: {authorization}"}
        return self._route(method, place.path, query, document)

    def _let_in(self, authorization: str) -> bool:
        kind, _, token = authorization.partition(" ")
        if kind == "Bearer" and self.bearers.get(token, 0) > 0:
            self.bearers[token] -= 1
            return True
        return kind == "Token" and token == TOKEN

    def _route(self, method: str, path: str, query: dict[str, str], document: Any) -> tuple[int, object]:
        project = re.fullmatch(r"/api/projects/(\d+)/(import)?", path + ("" if path.endswith("/") else "/"))
        imported = re.fullmatch(r"/api/projects/(\d+)/import", path)
        if imported:
            return self._import(int(imported[1]), document)
        if path == "/api/projects/":
            return self._create(document) if method == "POST" else self._find(query)
        if project:
            return self._project(method, int(project[1]), document)
        if path == "/api/tasks":
            return self._list(query)
        if path == "/api/storages/localfiles/":
            return self._storage(method, query, document)
        if path == "/data/local-files/":
            return self._file(query["d"])
        return 404, {"detail": "Not found."}

    def _create(self, document: dict[str, Any]) -> tuple[int, object]:
        number = len(self.projects) + 1
        self.projects[number] = {"id": number, **document}
        return 201, self._shown(number)

    def _find(self, query: dict[str, str]) -> tuple[int, object]:
        found = [self._shown(n) for n, p in self.projects.items() if query["title"].lower() in p["title"].lower()]
        return 200, {"count": len(found), "next": None, "previous": None, "results": found}

    def _project(self, method: str, number: int, document: dict[str, Any]) -> tuple[int, object]:
        if number not in self.projects:
            return 404, {"detail": "No Project matches the given query."}
        if method == "PATCH":
            self.projects[number].update(document)
        return 200, self._shown(number)

    def _shown(self, number: int) -> dict[str, Any]:
        from xml.etree import ElementTree

        interface = ElementTree.fromstring(self.projects[number].get("label_config") or "<View/>")
        controls = {
            choices.get("name"): {
                "type": "Choices",
                "to_name": [choices.get("toName")],
                "labels": [choice.get("value") for choice in choices.iter("Choice")],
            }
            for choices in interface.iter("Choices")
        }
        return {**self.projects[number], "parsed_label_config": controls}

    def _import(self, project: int, tasks: list[dict[str, Any]]) -> tuple[int, object]:
        labels = self._shown(project)["parsed_label_config"]["label"]["labels"]
        for task in tasks:
            for prediction in task.get("predictions", ()):
                if prediction["result"][0]["value"]["choices"][0] not in labels:
                    return 400, {"detail": "Validation error", "validation_errors": ["a choice that is none"]}
        for task in tasks:
            number = len(self.tasks) + 1
            self.tasks.append({"id": number, "project": project, "annotations": [], **json.loads(json.dumps(task))})
        return 201, {"task_count": len(tasks), "annotation_count": 0}

    def _list(self, query: dict[str, str]) -> tuple[int, object]:
        found = [task for task in self.tasks if task["project"] == int(query["project"])]
        if "query" in query:
            (item,) = json.loads(query["query"])["filters"]["items"]
            assert (item["filter"], item["operator"]) == ("filter:tasks:data.batch_id", "equal")
            found = [task for task in found if task["data"].get("batch_id") == item["value"]]
        page, size = int(query["page"]), min(int(query["page_size"]), 2)  # small pages, to have several
        shown = found[(page - 1) * size : page * size]
        if not shown and page > 1:
            return 404, {"detail": "Invalid page."}
        if query.get("fields") != "all":
            shown = [{key: value for key, value in task.items() if key != "annotations"} for task in shown]
        return 200, {"total": len(found), "tasks": shown}

    def _storage(self, method: str, query: dict[str, str], document: dict[str, Any]) -> tuple[int, object]:
        if method == "GET":
            return 200, [storage for storage in self.storages if storage["project"] == int(query["project"])]
        if self.root is None:
            return 400, _invalid("LOCAL_FILES_SERVING_ENABLED is disabled by default")
        path = Path(document["path"])
        if path == self.root:
            return 400, _invalid(f'"{path}" cannot be the same as LOCAL_FILES_DOCUMENT_ROOT="{self.root}"')
        if self.root not in path.parents:
            return 400, _invalid(f'"{path}" must be a subdirectory of LOCAL_FILES_DOCUMENT_ROOT="{self.root}"')
        self.storages.append(document)
        return 201, document

    def _file(self, path: str) -> tuple[int, object]:
        if self.root is None:
            return 403, b"Serving local files can be dangerous"
        file = self.root / path.lstrip("/")
        served = any(file.is_relative_to(storage["path"]) for storage in self.storages)
        return (200, file.read_bytes()) if served and file.is_file() else (404, b"")


def _invalid(text: str) -> dict[str, object]:
    return {"detail": "Validation error", "validation_errors": {"non_field_errors": [text]}}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *args: object) -> None:
        pass

    def _handle(self) -> None:
        fake = self.server.fake
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.close_connection = True
        with fake.lock:
            fake.requests.append(f"{self.command} {self.path}")
            fake.headers.append(str(self.headers))
            fault = next((f for f in fake.faults if f.method == self.command and f.path in self.path and f.times), None)
            if fault is not None:
                fault.times -= 1
                if fault.kind == "lost":
                    return
            if fault is not None and isinstance(fault.kind, int):
                status, answer = fault.kind, object()
            else:
                status, answer = fake.respond(self.command, self.path, body, self.headers.get("Authorization", ""))
        if fault is not None and fault.kind == "unsaid":
            return
        data = b"" if type(answer) is object else answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        if status == 302:
            self.send_header("Location", str(answer))
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if fault is not None and fault.kind == "torn" else data)

    do_GET = do_POST = do_PATCH = _handle


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    fake: FakeLabelStudio


@contextmanager
def running(fake: FakeLabelStudio, port: int = 0) -> Iterator[FakeLabelStudio]:
    """The server, listening on loopback."""
    server = _Server(("127.0.0.1", port), _Handler)
    server.fake = fake
    fake.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
