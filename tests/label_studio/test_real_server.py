"""A real Label Studio on loopback: pushed to, annotated by two users, pulled from, restarted. `make test-label-studio`.

It needs about a minute to start and a gigabyte of packages, so that it is not a part of `make test`.
"""

from __future__ import annotations

import http.cookiejar
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, OpenerDirector, Request, build_opener

import pytest
from dalcli_runner import finish, ok, run, start
from workspaces import ask, make

PROGRAM = os.environ.get("DALCLI_LABEL_STUDIO", "")
TOKEN = "0123456789abcdef0123456789abcdef01234567"
VOTES = """
    SELECT s.sample_id, c.name, v.annotator FROM vote AS v
    JOIN sample AS s ON s.id = v.sample LEFT JOIN class AS c ON c.position = v.class ORDER BY v.id
"""

pytestmark = [
    pytest.mark.skipif(not PROGRAM, reason="needs a Label Studio: `make test-label-studio` installs and names one"),
    pytest.mark.timeout(900),
]


class LabelStudio:
    """The program, with its database in ``folder``; it serves files below ``folder/root``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        told = {
            "BASE_DATA_DIR": str(self.folder / "data"),
            "COLLECT_ANALYTICS": "false",
            "LATEST_VERSION_CHECK": "false",
            "LOCAL_FILES_SERVING_ENABLED": "true",
            "LOCAL_FILES_DOCUMENT_ROOT": str(self.folder / "root"),
            "USERNAME": "ann@example.com",
            "PASSWORD": "a-word-of-ann",
            "USER_TOKEN": TOKEN,
            "ENABLE_LEGACY_API_TOKEN": "true",
        }
        known = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "PYTHONWARNINGS"}}
        env = known | {f"LABEL_STUDIO_{name}": value for name, value in told.items()}
        env |= {"COLLECT_ANALYTICS": "false", "SENTRY_DSN": "", "FRONTEND_SENTRY_DSN": ""}
        command = [PROGRAM, "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(self.port)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=env, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip

    def kill(self) -> None:
        assert self.process is not None
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def wait(self) -> None:
        for _ in range(600):
            assert self.process is not None
            assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
            with suppress(URLError, ConnectionError, TimeoutError):
                self.call("GET", "/api/version")
                return
            time.sleep(0.5)
        pytest.fail("Label Studio did not start")

    def call(self, method: str, path: str, document: object = None, token: str = TOKEN) -> Any:
        body = None if document is None else json.dumps(document).encode()
        request = Request(self.url + path, body, method=method)
        request.add_header("Authorization", f"Token {token}")
        request.add_header("Content-Type", "application/json")
        try:
            with build_opener().open(request, timeout=60) as response:
                return json.loads(response.read() or b"null")
        except HTTPError as error:
            with error:
                pytest.fail(f"{method} {path}: {error.code} {error.read()[:500]!r}")

    def second_user(self) -> str:
        """Sign up by an invitation, as people do; returns the token of the new user."""
        invitation = self.call("GET", "/api/invite")["invite_url"]
        cookies = http.cookiejar.CookieJar()
        browser = build_opener(HTTPCookieProcessor(cookies))
        page = _open(browser, Request(self.url + invitation))
        (hidden,) = re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)[:1]
        form = {"csrfmiddlewaretoken": hidden, "email": "bob@example.com", "password": "a-word-of-bob"}
        _open(browser, Request(self.url + invitation, urlencode(form).encode(), {"Referer": self.url + invitation}))
        return str(json.loads(_open(browser, Request(self.url + "/api/current-user/token")))["token"])

    def answer(self, task: int, label: str | None, token: str = TOKEN, *, skipped: bool = False) -> int:
        document = {"result": _choice(label), "was_cancelled": skipped, "lead_time": 3.0}
        return int(self.call("POST", f"/api/tasks/{task}/annotations/", document, token)["id"])

    def correct(self, annotation: int, label: str, token: str = TOKEN) -> None:
        self.call("PATCH", f"/api/annotations/{annotation}/", {"result": _choice(label)}, token)

    def tasks(self, project: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.call("GET", f"/api/tasks?project={project}&page_size=1000&fields=all")[
            "tasks"
        ]
        return found


def _open(browser: OpenerDirector, request: Request) -> str:
    with browser.open(request, timeout=60) as response:
        return str(response.read().decode())


def _choice(label: str | None) -> list[dict[str, object]]:
    if label is None:
        return []
    return [{"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": [label]}}]


@contextmanager
def serving(folder: Path) -> Iterator[LabelStudio]:
    server = LabelStudio(folder)
    (folder / "root").mkdir(parents=True)
    server.start()
    try:
        server.wait()
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudio]:
    with serving(tmp_path_factory.mktemp("label-studio")) as running:
        yield running


@pytest.fixture
def door(server: LabelStudio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABEL_STUDIO_URL", server.url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", TOKEN)


@pytest.mark.usefixtures("door")
def test_there_and_back_with_two_users(server: LabelStudio) -> None:
    root = make(server.folder / "root" / "animals", 8)
    ok(root, "query", "--budget", "6")
    pushed = ok(root, "label-studio", "push", "--json")
    assert "which the server reads itself" in pushed.err
    assert ok(root, "label-studio", "push", "--json").out == pushed.out
    project = pushed.json["project"]
    tasks = server.tasks(project)
    assert len(tasks) == len({task["data"]["sample_id"] for task in tasks}) == 6
    sample = {task["id"]: task["data"]["sample_id"] for task in tasks}
    one, two, three, four, five, six = sample

    bob = server.second_user()
    first = server.answer(one, "cat")
    server.answer(one, "cat", bob)
    server.answer(two, "dog")
    changed = server.answer(two, "cat", bob)
    server.answer(three, None, bob, skipped=True)
    server.answer(four, None)
    ok(root, "label-studio", "pull")
    assert sorted(ask(root, VOTES), key=str) == sorted(
        [
            (sample[one], "cat", "1"), (sample[one], "cat", "2"), (sample[two], "dog", "1"),
            (sample[two], "cat", "2"), (sample[three], None, "2"),
        ],
        key=str,
    )  # fmt: skip
    assert "up to date" in ok(root, "label-studio", "pull").err
    assert len(ask(root, VOTES)) == 5

    server.correct(changed, "dog", bob)
    server.correct(first, "cat")  # saved again without a change
    server.answer(four, "dog")
    ok(root, "label-studio", "pull")
    assert ask(root, VOTES)[5:] == [(sample[two], "dog", "2"), (sample[four], "dog", "1")]
    shown = ok(root, "labels", "show", sample[two], "--json").json
    assert (shown["state"], shown["label"]) == ("labeled", "dog")
    server.answer(five, "cat")
    server.answer(six, "cat", bob)
    ok(root, "label-studio", "pull")
    assert not ok(root, "batch", "list", "--json").json["batches"][0]["open"]

    # The export that people download says the same: nothing of it is new.
    export = server.call("GET", f"/api/projects/{project}/export?exportType=JSON")
    before = ask(root, VOTES)
    ok(root, "ingest-labels", "-", stdin=json.dumps(export).encode())
    assert ask(root, VOTES) == before


@pytest.mark.usefixtures("door")
def test_a_personal_access_token_and_images_inside_the_tasks(
    server: LabelStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make(server.folder / "elsewhere", 4)
    ok(root, "query", "--budget", "3")
    server.call("POST", "/api/jwt/settings", {"api_tokens_enabled": True, "legacy_api_tokens_enabled": True})
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", server.call("POST", "/api/token/", {})["token"])
    pushed = ok(root, "label-studio", "push", "--title", "inside the tasks", "--json")
    assert "inside the tasks, as the server cannot read them" in pushed.err
    tasks = server.tasks(pushed.json["project"])
    assert all(task["data"]["image"].startswith("data:image/png;base64,") for task in tasks)
    server.answer(tasks[0]["id"], "dog")
    ok(root, "label-studio", "pull")
    assert [vote[1] for vote in ask(root, VOTES)] == ["dog"]
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "f" * 40)
    assert run(root, "label-studio", "push").code == 3


@pytest.mark.usefixtures("door")
def test_both_survive_a_server_that_is_killed_and_started_again(server: LabelStudio) -> None:
    root = make(server.folder / "root" / "many", 900)
    ok(root, "query", "--budget", "900")
    title = ("label-studio", "push", "--title", "restarted", "--json", "--retry-for", "300")
    pushing = start(root, *title)
    for _ in range(600):  # into the middle of it
        found = server.call("GET", "/api/projects/?title=restarted")["results"]
        if found and found[0]["task_number"]:
            break
        time.sleep(0.05)
    server.kill()
    time.sleep(1)
    server.start()
    ended = finish(pushing)
    assert ended.code == 0, ended.err
    assert "does not answer" in ended.err or "cut off" in ended.err
    server.wait()
    project = ended.json["project"]
    tasks = server.tasks(project)
    assert len(tasks) == len({task["data"]["sample_id"] for task in tasks}) == 900
    for task in tasks[:5] + tasks[-5:]:
        server.answer(task["id"], "cat")
    pulling = start(root, "label-studio", "pull", "--retry-for", "300")
    time.sleep(1)
    server.kill()
    server.start()
    assert finish(pulling).code == 0
    server.wait()
    ok(root, "label-studio", "pull")
    assert len(ask(root, VOTES)) == 10
