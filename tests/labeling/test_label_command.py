"""``dalcli label`` in a process of its own: its address, its end, and what is left when it is killed."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from dalcli_runner import Outcome, environment, finish, ok, run, start
from label_pages import handed_out, serving
from workspaces import ask, make, session

from dalcli.labeling.desk import Desk
from dalcli.state import database as database_module

PAGE = "a" * 32


class Running:
    """The command, and somebody who uses its page."""

    def __init__(self, root: Path, *options: str, env: dict[str, str] | None = None) -> None:
        self.process = start(root, "label", *options, env=env)
        assert self.process.stderr is not None
        self.address = self.process.stderr.readline().decode().strip()
        assert self.address.startswith("http://"), self.address
        self.host, self.path = self.address.removeprefix("http://").split("/", 1)

    def say(self, place: str, **message: object) -> dict[str, object]:
        connection = http.client.HTTPConnection(self.host, timeout=10)
        body = json.dumps({"page": PAGE, **message})
        connection.request("POST", f"/{self.path}api/{place}", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        found: dict[str, object] = json.loads(response.read())
        connection.close()
        assert response.status == 200, found
        return found

    def label_next(self) -> str:
        items = self.say("next")["items"]
        assert isinstance(items, list)
        sample = str(items[0]["sample"])
        self.say("answer", sample=sample, label="cat", seconds=2.0)
        return sample

    def end(self, number: signal.Signals = signal.SIGINT) -> Outcome:
        self.process.send_signal(number)
        return finish(self.process)


def test_ctrl_c_ends_it_with_a_summary(tmp_path: Path) -> None:
    root = handed_out(tmp_path / "w", 3)
    page = Running(root, "--annotator", "ann")
    page.say("next")
    page.label_next()
    ended = page.end()
    assert ended.code == 130  # two images are left: `dalcli label && dalcli train` does not go on
    assert "1 label, 0 skipped, 0 taken back" in ended.out.decode()
    assert "1800 an hour, 2.0 s each" in ended.out.decode()
    assert "still to label" in ended.out.decode()
    assert "interrupted; progress is kept" in ended.err


def test_with_nothing_left_the_end_is_no_interruption(tmp_path: Path) -> None:
    root = handed_out(tmp_path / "w", 2)
    page = Running(root, "--json")
    done = [page.label_next(), page.label_next()]
    ended = page.end()
    assert ended.code == 0, ended.err
    assert list(ended.json) == [
        "labels", "skipped", "taken_back", "seconds", "annotators", "outstanding", "guesses", "proposals", "batches",
    ]  # fmt: skip
    assert (ended.json["labels"], ended.json["outstanding"]) == (2, 0)
    assert {row[0] for row in ask(root, "SELECT s.sample_id FROM vote JOIN sample AS s ON s.id = sample")} == set(done)


def test_terminated_it_ends_as_every_command_does(tmp_path: Path) -> None:
    page = Running(handed_out(tmp_path / "w", 2))
    ended = page.end(signal.SIGTERM)
    assert (ended.code, ended.out) == (143, b"")


def test_killed_it_has_lost_nothing_and_starts_again(tmp_path: Path) -> None:
    root = handed_out(tmp_path / "w", 3)
    page = Running(root)
    first = page.label_next()
    page.process.kill()
    page.process.communicate(timeout=10)
    again = Running(root)
    items = again.say("next")["items"]
    assert isinstance(items, list)
    assert len(items) == 2
    assert first not in {item["sample"] for item in items}
    again.label_next()
    assert again.end().code == 130
    assert len(ask(root, "SELECT * FROM vote")) == 2


def test_one_page_at_a_time_serves_a_workspace(tmp_path: Path) -> None:
    root = handed_out(tmp_path / "w", 2)
    with serving(root):
        refused = run(root, "label")
    assert refused.code == 4
    assert "another browser" in refused.err


def test_a_token_of_ones_own_comes_from_the_environment(tmp_path: Path) -> None:
    root = handed_out(tmp_path / "w", 2)
    token = "my-own-token-of-the-day"
    page = Running(root, "--quiet", env={"DALCLI_LABEL_TOKEN": token})
    assert page.path == f"{token}/"
    ended = page.end()
    assert ended.err.splitlines() == ["interrupted; progress is kept: run the same command again to continue"]


def test_without_an_open_batch_query_comes_first(tmp_path: Path) -> None:
    root = make(tmp_path / "w")
    refused = run(root, "label")
    assert refused.code == 5
    assert "dalcli query" in refused.err
    ok(root, "query", "--budget", "1")
    ok(root, "batch", "release", "b-0001")
    assert run(root, "label", "b-0001").code == 5
    missing = run(root, "label", "b-0002")
    assert (missing.code, "did you mean 'b-0001'" in missing.err) == (3, True)
    assert run(root, "label", "--relabel").code == 6


@pytest.mark.parametrize(
    "options",
    [
        ("--port", "70000"), ("--port", "-1"), ("--annotator", "a\nb"), ("--annotator", "x" * 101),
        ("--annotator", " a"), ("--token", "short"), ("--host", "0.0.0.0"), ("--relabel", "b-0001"),
        ("--host", "no.such.host.invalid", "--token", "x" * 20),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(tmp_path: Path, options: tuple[str, ...]) -> None:
    assert run(handed_out(tmp_path / "w", 2), "label", *options).code == 2


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    root, other = handed_out(tmp_path / "w", 2), handed_out(tmp_path / "v", 2)
    with serving(other) as served:
        refused = run(root, "label", "--port", str(served.port))
    assert refused.code == 1
    assert "--port" in refused.err


def test_one_named_batch_is_labeled_and_no_other(tmp_path: Path) -> None:
    root = handed_out(tmp_path / "w", 2)
    ok(root, "query", "--new", "--budget", "3")
    page = Running(root, "b-0002")
    standing = page.say("next")["standing"]
    assert isinstance(standing, dict)
    assert standing["total"] == 3
    page.end()


def test_an_answer_that_could_not_be_recorded_is_not_taken_for_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = handed_out(tmp_path / "w", 2)
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.2)
    with serving(root) as served:
        ann = served.person()
        item = ann.looking_at()
        with session(root) as other, other.database.write():
            reply = ann.say("answer", sample=item, label="cat")
        assert reply.status == 503
        assert "not recorded" in reply.json["error"]
        assert ask(root, "SELECT * FROM vote") == []
        assert ann.looking_at() == item
        assert ann.next()["standing"]["mine"] == 0
        ann.answer(item, label="cat")
        assert ann.next()["standing"]["mine"] == 1


def test_a_bug_is_told_in_the_terminal_and_costs_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = handed_out(tmp_path / "w", 2)
    told: list[str] = []
    with serving(root) as served:
        monkeypatch.setattr(served.page.server, "_failed", told.append)
        ann = served.person()
        item = ann.looking_at()
        with monkeypatch.context() as broken:
            broken.setattr(Desk, "_reply", lambda *_: 1 / 0)
            assert ann.say("answer", sample=item, label="cat").status == 500
        assert ask(root, "SELECT * FROM vote") == []
        assert ann.looking_at() == item  # what was noted in memory did not happen either
        assert ann.next()["standing"]["done"] == 0
        ann.answer(item, label="cat")
    assert told and "ZeroDivisionError" in told[0]


def test_the_page_and_its_server_need_no_torch(tmp_path: Path) -> None:
    root = handed_out(tmp_path / "w", 1)
    program = (
        "import sys, threading, signal, os\n"
        "from dalcli.cli.main import main\n"
        "threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "code = main(['label'])\n"
        "print(code, *sorted({'torch', 'torchvision', 'scipy', 'sklearn'} & set(sys.modules)))\n"
    )
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, cwd=root, env=environment(), capture_output=True, timeout=60)
    assert ended.stdout.decode().splitlines()[-1] == "130", ended.stderr
