"""``run`` with ``run.label_studio``: answers come from a server, and a server that is away stops nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dalcli_runner import REPOSITORY, ok, run
from fake_server import TOKEN, FakeLabelStudio, Fault, running
from workspaces import make

from dalcli.nightly.hook import HookReport

PUSH = (
    "import sys; sys.path.insert(0, {!r}); from dalcli.cli.main import main; sys.exit(main(['label-studio', 'push']))"
)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeLabelStudio]:
    with running(FakeLabelStudio(root=tmp_path)) as fake:
        monkeypatch.setenv("LABEL_STUDIO_URL", fake.url + "/")
        monkeypatch.setenv("LABEL_STUDIO_API_KEY", TOKEN)
        yield fake


def workspace(folder: Path) -> Path:
    """The batch of every night is pushed by its hook."""
    after = json.dumps([sys.executable, "-c", PUSH.format(str(REPOSITORY))])
    config = (
        f"run: {{label_studio: true, after: {after}}}\nthreads: 1\ntraining: {{max_epochs: 1}}\nmodel: {{name: cnn}}\n"
    )
    return make(folder / "work", config=config)


def night(root: Path) -> dict[str, Any]:
    document: dict[str, Any] = ok(root, "run", "--budget", "4", "--json").json
    return {step["step"]: step for step in document["steps"]} | {"changed": document["changed"]}


def test_before_anything_was_pushed_the_night_hands_out_a_first_batch(tmp_path: Path, server: FakeLabelStudio) -> None:
    root = workspace(tmp_path)
    first = night(root)
    assert (first["pull"]["outcome"], first["query"]["outcome"]) == ("not-needed", "done")
    assert len(server.tasks) == 4  # by the hook
    for number in range(1, 4):
        server.answer(number, 1, "cat" if number % 2 else "dog")
    second = night(root)
    assert second["pull"]["details"]["new_votes"] == 3
    assert second["train"]["details"]["labels"] == 3
    third = night(root)
    assert (third["pull"]["outcome"], third["query"]["outcome"]) == ("done", "not-needed")
    assert not third["changed"]


def test_a_server_that_is_away_fails_its_step_alone(
    tmp_path: Path, server: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = workspace(tmp_path)
    night(root)
    monkeypatch.setattr("dalcli.nightly.steps.pull.PATIENCE", 0.2)
    monkeypatch.setattr("dalcli.nightly.hook.tell", lambda *_: HookReport(("push",), None, ""))
    server.faults.append(Fault("GET", "/api", "lost", times=1000))
    (root / "to_label.csv").unlink()
    outcome = run_partly(root)
    assert outcome["pull"]["outcome"] == "failed"
    assert "did not answer" in outcome["pull"]["why"] or server.url in outcome["pull"]["why"]
    assert outcome["query"]["outcome"] == "done"


def run_partly(root: Path) -> dict[str, Any]:
    with pytest.raises(AssertionError) as caught:  # the runner holds that what fails prints nothing
        run(root, "run", "--budget", "4", "--json")
    assert caught.value is not None
    lines = (root / ".dalcli" / "run" / "log.jsonl").read_text().splitlines()
    last = [json.loads(line) for line in lines]
    return {line["step"]: line for line in last if line["night"] == last[-1]["night"]}


def test_without_credentials_it_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LABEL_STUDIO_URL", raising=False)
    monkeypatch.delenv("LABEL_STUDIO_API_KEY", raising=False)
    root = workspace(tmp_path)
    found = run_partly(root)
    assert (found["pull"]["outcome"], found["pull"]["exit_code"]) == ("failed", 3)
    assert "LABEL_STUDIO_URL is not in the environment" in found["pull"]["why"]
    assert found["query"]["outcome"] == "done"
