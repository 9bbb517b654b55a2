"""Batches to a Label Studio and answers back, against a small one in this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dalcli_runner import Outcome, ok, run
from fake_server import PERSONAL, TOKEN, FakeLabelStudio, Fault, running
from workspaces import add_model, add_scores, ask, dump, ids, make, photos

from dalcli.label_studio import client, push

VOTES = """
    SELECT s.sample_id, c.name, v.annotator FROM vote AS v
    JOIN sample AS s ON s.id = v.sample LEFT JOIN class AS c ON c.position = v.class ORDER BY v.id
"""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeLabelStudio]:
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(client, "LONGEST_PAUSE", 0.05)
    with running(FakeLabelStudio(root=tmp_path)) as fake:
        monkeypatch.setenv("LABEL_STUDIO_URL", fake.url + "/")
        monkeypatch.setenv("LABEL_STUDIO_API_KEY", TOKEN)
        yield fake


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = make(tmp_path / "work")
    ok(made, "query", "--budget", "5")
    return made


def label_studio(root: Path, *arguments: str | Path) -> Outcome:
    """The command; whatever it does, it never says the token."""
    outcome = run(root, "label-studio", *arguments)
    for secret in (TOKEN, PERSONAL):
        assert secret not in outcome.out.decode() + outcome.err
        assert secret not in "\n".join(dump(root))
    return outcome


def done(root: Path, *arguments: str | Path) -> Outcome:
    outcome = label_studio(root, *arguments)
    assert outcome.code == 0, outcome.err
    return outcome


def samples(server: FakeLabelStudio) -> list[str]:
    return [task["data"]["sample_id"] for task in server.tasks]


def test_the_interface_lists_the_classes(tmp_path: Path) -> None:
    from xml.etree import ElementTree

    names = ['a "b"', "<c> & d", "é'", *(f"class {n}" for n in range(200))]
    (tmp_path / "names.txt").write_text("\n".join(names))
    root = tmp_path / "work"
    photos(root / "photos", 1)
    ok(root, "init", "photos", "--classes", "../names.txt")
    found = ElementTree.fromstring(ok(root, "label-studio", "config").out.decode())
    choices = list(found.iter("Choice"))
    assert [choice.get("value") for choice in choices] == names
    assert [choice.get("hotkey") for choice in choices[:10]] == [*"123456789", None]
    search = found.find("Filter")
    assert search is not None
    assert search.get("toName") == "label"
    ok(root, "classes", "merge", "class 7", "class 8")
    shown = ok(root, "label-studio", "config").out.decode()
    assert 'value="class 7"' not in shown
    assert 'value="class 8"' in shown
    few = make(tmp_path / "few")
    assert "Filter" not in ok(few, "label-studio", "config").out.decode()


def test_push_sends_every_row_once(root: Path, server: FakeLabelStudio) -> None:
    first = done(root, "push", "--title", "animals")
    assert first.out.decode().split() == [
        "project", f"{server.url}/projects/1", "batch", "b-0001", "5", "tasks", "to", "label",
    ]  # fmt: skip
    assert set(samples(server)) <= set(ids(root / "photos").values())
    assert len(set(samples(server))) == len(server.tasks) == 5
    assert server.projects[1]["title"] == "animals"
    assert done(root, "push").out == first.out
    assert done(root, "push", "--project", "1").out == first.out
    assert len(server.tasks) == 5
    ok(root, "query", "--new", "--budget", "2")
    assert "b-0002" in done(root, "push", "b-0002", "--json").out.decode()
    assert len(server.tasks) == 7
    assert list(server.projects) == [1]


def test_rows_that_were_answered_elsewhere_are_not_sent(root: Path, server: FakeLabelStudio) -> None:
    rows = ok(root, "query", "--budget", "5").rows
    ok(root, "ingest-labels", "-", stdin=f"sample_id,label\n{rows[0]['sample_id']},cat\n".encode())
    done(root, "push")
    assert sorted(samples(server)) == sorted(row["sample_id"] for row in rows[1:])


def test_the_guess_goes_along_under_the_name_of_today(tmp_path: Path, server: FakeLabelStudio) -> None:
    root = make(tmp_path / "work", 30)
    rows = ok(root, "query", "--budget", "2").rows
    labels = "".join(f"{row['sample_id']},{name}\n" for row, name in zip(rows, ("cat", "dog"), strict=True))
    ok(root, "ingest-labels", "-", stdin=f"sample_id,label\n{labels}".encode())
    add_model(root)
    add_scores(root)
    guesses = {row["sample_id"]: row["pseudo_label"] for row in ok(root, "query", "--budget", "6").rows}
    ok(root, "classes", "rename", "cat", "kitten")
    done(root, "push")
    found = {
        task["data"]["sample_id"]: task["predictions"][0]["result"][0]["value"]["choices"] for task in server.tasks
    }
    assert found == {sample: ["kitten" if guess == "cat" else guess] for sample, guess in guesses.items()}
    assert "kitten" in server.projects[1]["label_config"]


def test_answers_come_back_once_with_skips_and_corrections(root: Path, server: FakeLabelStudio) -> None:
    done(root, "push")
    a, b, c, d, _ = samples(server)
    first = server.answer(1, 1, "cat")
    server.answer(2, 1, "dog")
    server.answer(2, 2, "dog")
    server.answer(3, 2, "cat", skipped=True)  # a skip counts before what was chosen
    server.answer(4, 1, None)  # handed in empty: no answer
    assert "3 new labels recorded" in done(root, "pull").err
    expected = [(a, "cat", "1"), (b, "dog", "1"), (b, "dog", "2"), (c, None, "2")]
    assert ask(root, VOTES) == expected
    before = dump(root)
    again = done(root, "pull")
    assert "up to date" in again.err
    assert [line for line in dump(root) if '"vote"' in line] == [line for line in before if '"vote"' in line]
    server.change(first, "dog")
    server.answer(4, 2, "cat")
    corrected = done(root, "pull")
    assert ask(root, VOTES) == [*expected, (a, "dog", "1"), (d, "cat", "2")]
    assert "1 earlier label replaced" in corrected.err
    assert ok(root, "labels", "show", a, "--json").json["label"] == "dog"
    assert done(root, "pull").out == corrected.out
    server.change(first, None, skipped=True)
    done(root, "pull")
    assert ask(root, VOTES)[-1] == (a, None, "1")
    server.change(first, None)
    assert "1 answer was emptied since" in done(root, "pull").err
    assert len(ask(root, VOTES)) == 7
    assert ask(root, "SELECT DISTINCT file, line FROM vote WHERE line = 1") == [(f"{server.url}/projects/1", 1)]


def test_the_latest_of_ones_answers_counts(root: Path, server: FakeLabelStudio) -> None:
    done(root, "push")
    earlier = server.answer(1, 1, "cat")
    server.answer(1, 1, "dog")
    assert "the latest counts" in done(root, "pull").err
    assert [vote[1] for vote in ask(root, VOTES)] == ["dog"]
    server.change(earlier, "cat")
    done(root, "pull")
    assert [vote[1] for vote in ask(root, VOTES)] == ["dog", "cat"]


def test_another_look_is_a_vote_of_its_own(root: Path, server: FakeLabelStudio) -> None:
    done(root, "push")
    server.answer(1, 1, "cat")
    server.answer(1, 2, "dog")
    done(root, "pull")
    ok(root, "query", "--relabel", "1")
    done(root, "push", "b-0002")
    assert server.tasks[-1]["data"]["batch_id"] == "b-0002"
    server.answer(6, 1, "dog")
    server.answer(6, 2, "dog")  # confirms
    done(root, "pull")
    batches = {batch["batch_id"]: batch["open"] for batch in ok(root, "batch", "list", "--json").json["batches"]}
    assert batches == {"b-0001": True, "b-0002": False}
    assert len(ask(root, VOTES)) == 4
    done(root, "pull")
    assert len(ask(root, VOTES)) == 4


def test_what_says_nothing_usable_refuses_all_and_names_its_task(root: Path, server: FakeLabelStudio) -> None:
    done(root, "push")
    server.answer(1, 1, "cat")
    wrong = server.answer(4, 1, "catt")
    refused = label_studio(root, "pull")
    assert refused.code == 3
    assert "task 4: unknown class 'catt': did you mean 'cat'?" in refused.err
    assert ask(root, VOTES) == []
    server.change(wrong, "cat")
    done(root, "pull")
    assert len(ask(root, VOTES)) == 2
    server.answer(5, 1, "bird")
    done(root, "pull", "--allow-new-classes")
    assert ask(root, VOTES)[-1][1] == "bird"


def test_tasks_of_others_are_passed_over(root: Path, server: FakeLabelStudio) -> None:
    done(root, "push")
    server.tasks.append({"id": 6, "project": 1, "annotations": [], "data": {"image": "/data/upload/1/x.png"}})
    server.answer(6, 1, "no class of ours")
    assert "1 task is none of ours" in done(root, "pull").err
    assert ask(root, VOTES) == []


@pytest.mark.parametrize("kind", ["lost", "unsaid", "torn", 502, 503, 500])
def test_push_survives_a_server_that_is_cut_off(
    root: Path, server: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    monkeypatch.setattr(push, "MOST_TASKS", 2)
    server.faults = [
        Fault("POST", "/api/projects/", kind),
        Fault("GET", "/api/projects/", kind),
        Fault("POST", "/import", kind, times=2),
        Fault("GET", "/api/tasks", kind),
        Fault("POST", "/storages", kind),
        Fault("GET", "/data/local-files/", kind),
    ]
    done(root, "push")
    assert all(fault.times == 0 for fault in server.faults)
    assert len(set(samples(server))) == len(server.tasks) == 5
    assert len(server.projects) == 1
    assert len(server.storages) == 1
    server.answer(1, 1, "cat")
    server.answer(5, 1, "cat")
    server.faults = [Fault("GET", "/api/tasks", kind), Fault("GET", "page=2", kind)]
    done(root, "pull")
    assert all(fault.times == 0 for fault in server.faults)
    assert len(ask(root, VOTES)) == 2


def test_push_goes_on_where_an_earlier_one_ended(root: Path, server: FakeLabelStudio, monkeypatch: Any) -> None:
    monkeypatch.setattr(push, "MOST_TASKS", 2)
    server.faults = [Fault("GET", "/api/tasks", "lost", times=0), Fault("POST", "/import", "unsaid")]
    original = FakeLabelStudio.respond

    def die(self: FakeLabelStudio, method: str, target: str, body: bytes, authorization: str) -> Any:
        if method == "POST" and target.endswith("/import"):
            self.faults = [Fault("GET", "/api/", "lost", times=10**6)]  # from now on it is away
        return original(self, method, target, body, authorization)

    monkeypatch.setattr(FakeLabelStudio, "respond", die)
    failed = label_studio(root, "push", "--retry-for", "0.1")
    assert failed.code == 1
    assert "does not answer" in failed.err
    assert "run the same command again" in failed.err
    assert len(server.tasks) == 2
    monkeypatch.setattr(FakeLabelStudio, "respond", original)
    server.faults = []
    done(root, "push")
    assert len(set(samples(server))) == len(server.tasks) == 5


def test_a_restart_is_waited_for(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.02)
    fake = FakeLabelStudio(root=tmp_path)
    with running(fake):
        port = int(fake.url.rpartition(":")[2])
    monkeypatch.setenv("LABEL_STUDIO_URL", fake.url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", TOKEN)
    outcome: list[Outcome] = []
    pushing = threading.Thread(target=lambda: outcome.append(ran(root)))

    def ran(root: Path) -> Outcome:
        from dalcli_runner import run_process

        return run_process(root, "label-studio", "push", "--retry-for", "20")

    pushing.start()
    time.sleep(0.3)
    with running(fake, port):
        pushing.join(timeout=60)
    assert outcome[0].code == 0, outcome[0].err
    assert len(fake.tasks) == 5


def test_without_a_server_it_fails_and_says_how_to_go_on(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABEL_STUDIO_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", TOKEN)
    failed = label_studio(root, "push", "--retry-for", "0")
    assert failed.code == 1
    assert "http://127.0.0.1:9 does not answer: connection refused" in failed.err


def test_files_that_the_server_sees_stay_where_they_are(tmp_path: Path, root: Path, server: FakeLabelStudio) -> None:
    assert f"local files below {tmp_path}" in done(root, "push").err
    assert {task["data"]["image"].rpartition("/")[0] for task in server.tasks} == {"/data/local-files/?d=work/photos"}
    assert server.storages[0]["path"] == str(root / "photos")


def test_a_document_root_itself_is_served_by_the_folders_below(root: Path, server: FakeLabelStudio) -> None:
    server.root = root
    (root / "more").mkdir()
    rows = ok(root, "query", "--budget", "5").rows
    moved = root / "more" / Path(rows[0]["path"]).name
    (root / rows[0]["path"]).rename(moved)
    ok(root, "pool", "relocate", rows[0]["path"], moved)
    done(root, "push")
    assert {storage["path"] for storage in server.storages} == {str(root / "more"), str(root / "photos")}
    assert f"/data/local-files/?d=more/{moved.name}" in {task["data"]["image"] for task in server.tasks}


@pytest.mark.parametrize("where", ["nowhere", "elsewhere", "other bytes"])
def test_other_servers_get_images_inside_the_tasks(
    tmp_path: Path, root: Path, server: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    import base64

    server.root = None if where == "nowhere" else tmp_path / "elsewhere" if where == "elsewhere" else tmp_path
    if where == "other bytes":  # the same path on another machine
        monkeypatch.setattr(FakeLabelStudio, "_file", lambda *_: (200, b"another image"))
    refused = label_studio(root, "push", "--images", "local")
    assert refused.code == 3
    assert server.tasks == []
    assert "inside the tasks, as the server cannot read them" in done(root, "push").err
    files = {path.read_bytes() for path in (root / "photos").iterdir()}
    for task in server.tasks:
        kind, _, data = task["data"]["image"].partition(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(data) in files
    server.answer(1, 1, "cat")
    done(root, "pull")
    assert len(ask(root, VOTES)) == 1


def test_images_served_elsewhere(root: Path, server: FakeLabelStudio) -> None:
    assert "images: at https://host/pool" in done(root, "push", "--image-url", "https://host/pool").err
    assert all(task["data"]["image"].startswith("https://host/pool/photos/") for task in server.tasks)


def test_a_missing_image_stops_it_before_anything_is_sent(root: Path, server: FakeLabelStudio) -> None:
    rows = ok(root, "query", "--budget", "5").rows
    (root / rows[2]["path"]).unlink()
    refused = label_studio(root, "push")
    assert refused.code == 3
    assert f"{rows[2]['path']}: the file is missing" in refused.err
    assert server.tasks == []


def test_a_personal_token_is_exchanged_and_exchanged_again(
    root: Path, server: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", PERSONAL)
    server.bearer_uses = 3  # as if the access had run out
    done(root, "push")
    assert len(server.bearers) > 1
    assert len(set(samples(server))) == len(server.tasks) == 5
    assert not any(PERSONAL in headers for headers in server.headers)


@pytest.mark.parametrize("token", ["f" * 40, PERSONAL[:-4] + "AAAA"])
def test_a_wrong_token_is_bad_input_and_stays_unsaid(
    root: Path, server: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", token)
    for command in (("push",), ("pull", "--project", "1")):
        refused = label_studio(root, *command)
        assert refused.code == 3
        assert "refuses the token in LABEL_STUDIO_API_KEY" in refused.err
        assert token not in refused.err
    assert len(server.requests) <= 4  # not asked again and again


def test_an_answer_that_repeats_the_token_is_not_passed_on(
    root: Path, server: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeLabelStudio, "_route", lambda *_: (400, {"detail": f"you said Token {TOKEN}"}))
    refused = label_studio(root, "push")
    assert refused.code == 1
    assert "you said Token ***" in refused.err


def test_the_token_follows_no_redirect(tmp_path: Path, root: Path, server: FakeLabelStudio) -> None:
    with running(FakeLabelStudio()) as other:
        server.redirect = f"{other.url}/api/projects/"
        refused = label_studio(root, "push")
        assert refused.code == 3
        assert "not followed" in refused.err
        assert other.requests == []


def test_credentials_in_a_file_that_nobody_else_can_read(
    tmp_path: Path, root: Path, server: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LABEL_STUDIO_URL")
    monkeypatch.delenv("LABEL_STUDIO_API_KEY")
    file = tmp_path / "door"
    file.write_text(f"# mine\nexport LABEL_STUDIO_URL='{server.url}'\nLABEL_STUDIO_API_KEY={TOKEN}\n")
    missing = label_studio(root, "push")
    assert (missing.code, "--credentials FILE" in missing.err) == (3, True)
    for mode in (0o644, 0o640, 0o602, 0o604):
        file.chmod(mode)
        refused = label_studio(root, "push", "--credentials", file)
        assert refused.code == 3
        assert "chmod 600" in refused.err
    assert server.requests == []
    file.chmod(0o600)
    done(root, "push", "--credentials", file)
    done(root, "pull", "--credentials", file)
    assert label_studio(root, "push", "--credentials", tmp_path / "gone").code == 3
    assert label_studio(root, "push", "--credentials", tmp_path).code == 3


@pytest.mark.parametrize(
    "url", ["localhost:8080", "ftp://host", "http://ann:secret@host", "http://host/?a=b", "http://"]
)
def test_a_url_that_is_none_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("LABEL_STUDIO_URL", url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", TOKEN)
    refused = label_studio(root, "push")
    assert refused.code == 3
    assert "secret" not in refused.err


def test_what_must_come_first_is_named(tmp_path: Path, server: FakeLabelStudio) -> None:
    root = make(tmp_path / "work")
    none = label_studio(root, "push")
    assert (none.code, "dalcli query" in none.err) == (5, True)
    none = label_studio(root, "pull")
    assert (none.code, "dalcli label-studio push" in none.err) == (5, True)
    assert server.requests == []
    ok(root, "query", "--budget", "1")
    assert label_studio(root, "push", "b-0009").code == 3
    assert label_studio(root, "push", "--project", "7").code == 3
    assert label_studio(root, "push", "--project", "7", "--title", "animals").code == 2
    assert label_studio(root, "push", "--title", "a").code == 2


def test_an_interface_of_ones_own_is_never_changed(root: Path, server: FakeLabelStudio) -> None:
    own = '<View><Image name="image" value="$image"/><Choices name="label" toName="image">{}</Choices></View>'
    server.projects[1] = {"id": 1, "title": "mine", "label_config": own.format('<Choice value="cat"/>')}
    refused = label_studio(root, "push", "--project", "1")
    assert refused.code == 3
    assert "lacks 'dog'" in refused.err
    assert "dalcli label-studio config" in refused.err
    server.projects[1]["label_config"] = own.format('<Choice value="cat"/><Choice value="dog"/><Choice value="bird"/>')
    done(root, "push", "--title", "mine")
    assert server.projects[1]["label_config"].count("<Choice ") == 3
    server.projects[2] = {"id": 2, "title": "empty one", "label_config": "<View></View>"}
    done(root, "push", "--title", "empty one")
    assert "hotkey" in server.projects[2]["label_config"]


def test_a_new_class_comes_into_the_interface_that_was_made_here(root: Path, server: FakeLabelStudio) -> None:
    done(root, "push")
    rows = ok(root, "query", "--budget", "5").rows
    added = f"sample_id,label\n{rows[0]['sample_id']},bird\n".encode()
    ok(root, "ingest-labels", "-", "--allow-new-classes", stdin=added)
    done(root, "push")
    assert 'value="bird"' in server.projects[1]["label_config"]
