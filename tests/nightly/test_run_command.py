"""``dalcli run`` as a user types it: rounds, a second run, what goes wrong, and how it ends."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from dalcli.nightly.deadline import next_time
from dalcli.state.lock import compute_lock
from tests.nights import QUICK, answer, night, rows, step, steps
from tests.small_pools import SETTINGS, Outcome, SmallPool, copied, make_pool, truth


@pytest.fixture(scope="module")
def _fresh(tmp_path_factory: pytest.TempPathFactory) -> SmallPool:
    pool = make_pool(tmp_path_factory.mktemp("night") / "w", run=QUICK, training={"max_epochs": 2})
    (pool.root / "inbox").mkdir()
    return pool


@pytest.fixture
def pool(_fresh: SmallPool, tmp_path: Path) -> SmallPool:
    """48 images, nothing labeled, an empty inbox."""
    return copied(_fresh, tmp_path / "w")


@pytest.fixture(scope="module")
def _played(_fresh: SmallPool, tmp_path_factory: pytest.TempPathFactory) -> SmallPool:
    played = copied(_fresh, tmp_path_factory.mktemp("played") / "w")
    night(played)
    answer(played)
    answer(played, "to_label.evaluation.csv")
    night(played)
    return played


@pytest.fixture
def played(_played: SmallPool, tmp_path: Path) -> SmallPool:
    """Two nights: m-0001 is trained and measured, its first batch is out."""
    return copied(_played, tmp_path / "w")


def log(pool: SmallPool) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (pool.root / ".dalcli/run/log.jsonl").read_text().splitlines()]


def ask(pool: SmallPool, question: str) -> list[Any]:
    with closing(sqlite3.connect(pool.root / ".dalcli/state.db")) as connection:
        return [row[0] for row in connection.execute(question)]


def configure(pool: SmallPool, **run: Any) -> None:
    pool.configure(run={**QUICK, **run}, training={"max_epochs": 2})


def test_a_first_night_hands_out_a_cold_start_and_evaluation_samples(pool: SmallPool) -> None:
    first = night(pool)
    assert steps(first) | {"track": ""} == {
        "inbox": "not-needed", "pull": "not-needed", "train": "not-needed", "score": "not-needed",
        "evaluate": "not-needed", "track": "", "plan": "done", "query": "done", "report": "not-needed",
        "backup": "done",
    }  # fmt: skip
    assert first["verdict"] == "need-evaluation-labels"
    assert len(rows(pool)) == 6
    assert len(rows(pool, "to_label.evaluation.csv")) == 8
    assert {row["arm"] for row in rows(pool, "to_label.evaluation.csv")} == {"evaluation"}
    assert not (pool.root / ".dalcli/models").exists()


def test_a_second_night_learns_from_what_came_in_and_hands_out_the_next_batch(played: SmallPool) -> None:
    status = played.json("status")
    assert (status["model"]["version"], status["model"]["labels"], status["unscored"]) == ("m-0001", 6, 0)
    assert [point["version"] for point in status["curve"]] == ["m-0001"]
    assert [batch["batch_id"] for batch in status["open_batches"]] == ["b-0003"]
    assert {row["strategy"] for row in rows(played)} == {"diverse-margin"}
    assert sorted(path.name.split("Z-")[1] for path in (played.root / "inbox/done").iterdir()) == [
        "to_label.csv",
        "to_label.evaluation.csv",
    ]


def test_a_second_run_does_nothing(played: SmallPool) -> None:
    def files() -> dict[str, bytes]:
        kept = (path for path in sorted(played.root.rglob("*")) if path.is_file() and "run" not in path.parts)
        return {str(path): path.read_bytes() for path in kept if not path.name.startswith(("state.db-", "run."))}

    night(played)  # another file of answers would be the next thing
    before = files()
    again = night(played)
    assert not again["changed"]
    assert set(steps(again).values()) == {"not-needed", "done"}
    assert [name for name, outcome in steps(again).items() if outcome == "done"] == ["plan"]
    assert files() == before


def test_the_report_follows_the_state(played: SmallPool) -> None:
    configure(played, report="report.html")
    first, page = night(played), played.root / "report.html"
    assert step(first, "report")["details"]["file"] == "report.html"
    data = page.read_bytes()
    assert b"<h1" in data and b"m-0001" in data
    again = night(played)
    assert step(again, "report")["outcome"] == "not-needed"
    assert not again["changed"]
    assert page.read_bytes() == data
    page.unlink()
    assert step(night(played), "report")["outcome"] == "done"
    answer(played)
    assert step(night(played), "report")["outcome"] == "done"
    assert b"m-0002" in page.read_bytes()
    configure(played, report="nowhere/report.md")
    failed = json.loads(played.run("run", "--budget", "6", "--json").out)
    assert step(failed, "report")["outcome"] == "failed"
    assert step(failed, "backup")["outcome"] == "done"


def test_the_batch_is_written_again_where_its_file_is_missing(played: SmallPool) -> None:
    data = (played.root / "to_label.csv").read_bytes()
    (played.root / "to_label.csv").unlink()
    again = night(played)
    assert step(again, "query")["details"]["batches"][0] | {"file": ""} == {
        "batch_id": "b-0003", "purpose": "training", "file": "", "again": True,
    }  # fmt: skip
    assert (played.root / "to_label.csv").read_bytes() == data
    assert len(played.json("batch", "list")["batches"]) == 3
    elsewhere = played.root / "other.csv"
    played.ok("run", "--budget", "6", "--output", str(elsewhere))
    assert elsewhere.read_bytes() == data


def test_what_labelers_have_written_into_the_file_is_never_overwritten(played: SmallPool) -> None:
    file = played.root / "to_label.csv"
    filled = file.read_bytes().replace(b",\n", b",red\n")
    file.write_bytes(filled)
    night(played)
    assert file.read_bytes() == filled
    # Five of six come in another way, the sixth is released: what the file says of it would be lost.
    answer(played, part=slice(5), to="monday.csv")
    night(played)
    assert file.read_bytes() == filled
    played.ok("batch", "release", "b-0003")
    outcome = played.run("run", "--budget", "6")
    assert outcome.code == 0
    assert "may hold answers" in outcome.err
    assert (played.root / "to_label.old-1.csv").read_bytes() == filled
    assert rows(played)[0]["batch_id"] == "b-0004"


def test_the_file_of_a_batch_that_came_back_whole_is_replaced(played: SmallPool) -> None:
    (played.root / "to_label.csv").write_bytes((played.root / "to_label.csv").read_bytes().replace(b",\n", b",red\n"))
    answer(played, to="all.csv")
    night(played)
    assert rows(played)[0]["batch_id"] == "b-0004"
    assert not list(played.root.glob("*.old-*"))


def test_partial_answers_are_learned_from_and_no_second_batch_goes_out(played: SmallPool) -> None:
    answer(played, part=slice(2), to="some.csv")
    found = night(played)
    assert step(found, "train")["details"]["labels"] == 8
    assert (step(found, "query")["outcome"], step(found, "query")["why"]) == (
        "not-needed",
        "batch b-0003 is out: 2 of 6 answered",
    )


def test_a_refused_file_is_set_aside_with_the_reason_and_the_night_goes_on(played: SmallPool) -> None:
    (played.root / "inbox/bad.csv").write_text("path,label\nphotos/red-00.png,rad\nphotos/none.png,red\n")
    answer(played, to="good.csv")
    outcome = played.run("run", "--budget", "6")
    assert outcome.code == 3
    assert "error: inbox: 1 refused: inbox/refused/" in outcome.err
    assert "b-0004 issued" in outcome.out
    refused = sorted((played.root / "inbox/refused").iterdir())
    assert [path.name.split("Z-")[1] for path in refused] == ["bad.csv", "bad.csv.why.txt"]
    why = refused[1].read_text()
    assert "line 2: unknown class 'rad': did you mean 'red'?" in why
    assert "line 3" in why
    assert played.run("run", "--budget", "6").code == 0  # it was told once


@pytest.mark.parametrize("name", ["a.csv.part", "a.csv.tmp", ".a.csv", "a.csv~", "a.crdownload"])
def test_files_that_are_called_like_unfinished_ones_stay(pool: SmallPool, name: str) -> None:
    (pool.root / "inbox" / name).write_text("path,label\nphotos/red-00")
    assert steps(night(pool))["inbox"] == "not-needed"
    assert (pool.root / "inbox" / name).exists()


def test_a_file_that_is_still_growing_waits(pool: SmallPool, monkeypatch: pytest.MonkeyPatch) -> None:
    from dalcli.nightly import inbox

    night(pool)
    configure(pool, settle=0.3)
    file = answer(pool, part=slice(3))

    def grow(seconds: float) -> None:
        with file.open("a") as opened:
            opened.write("\n")
        time.sleep(seconds)

    files = inbox.waiting(pool.root / "inbox")
    assert inbox.settled(files, 0.3, sleep=grow) == {}
    monkeypatch.setattr(inbox.settled, "__defaults__", (grow, time.time))
    found = night(pool)
    assert step(found, "inbox")["details"] == {"files": [], "labels": 0, "refused": [], "left": 1}
    assert file.exists()
    monkeypatch.undo()
    assert step(night(pool), "inbox")["details"]["labels"] == 3


def test_a_file_that_changes_while_it_is_read_is_read_again(pool: SmallPool, monkeypatch: pytest.MonkeyPatch) -> None:
    from dalcli.commands import ingest_labels

    night(pool)
    file, real = answer(pool, part=slice(3)), ingest_labels.run

    def run(*arguments: Any) -> Any:
        result = real(*arguments)
        answer(pool)
        return result

    monkeypatch.setattr(ingest_labels, "run", run)
    assert night(pool)["exit_code"] == 0
    assert file.exists()
    monkeypatch.undo()
    assert step(night(pool), "train")["details"]["labels"] == 6
    assert not file.exists()


def test_the_same_file_again_changes_nothing(played: SmallPool) -> None:
    votes = ask(played, "SELECT count(*) FROM vote")
    (old,) = (path for path in (played.root / "inbox/done").iterdir() if "evaluation" not in path.name)
    for _ in range(2):  # twice under its old name and time
        shutil.copy2(old, played.root / "inbox/to_label.csv")
        found = night(played)
        assert steps(found)["train"] == "not-needed"
    assert ask(played, "SELECT count(*) FROM vote") == votes
    assert len(list((played.root / "inbox/done").iterdir())) == 4


def test_a_changed_label_is_refused_unless_the_configuration_takes_it(played: SmallPool) -> None:
    row = next(row for row in played.pool("labeled"))
    other = "red" if truth(row["path"]) != "red" else "blue"
    (played.root / "inbox/other.csv").write_text(f"sample_id,label\n{row['sample_id']},{other}\n")
    assert played.run("run", "--budget", "6").code == 3
    configure(played, on_conflict="replace")
    (played.root / "inbox/other.csv").write_text(f"sample_id,label\n{row['sample_id']},{other}\n")
    assert steps(night(played))["train"] == "done"


@pytest.mark.parametrize(("target", "verdict", "code"), [(0.01, "target-reached", 10), (0.9999, "infeasible", 11)])
def test_a_plan_that_says_stop_hands_out_nothing(
    played: SmallPool, target: float, verdict: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if verdict == "infeasible":  # takes a pool that is answered to the end
        from dalcli.planning import verdict as judging

        monkeypatch.setattr(judging, "_by_measurement", lambda *_: ("infeasible", "it is"))
    played.configure(run=QUICK, training={"max_epochs": 2}, plan={"target": target})
    answer(played)
    outcome = played.run("run", "--budget", "6", "--exit-code", "--json")
    found = json.loads(outcome.out)
    assert (outcome.code, found["verdict"], found["exit_code"]) == (code, verdict, 0)
    assert steps(found)["train"] == "done"
    assert step(found, "query")["outcome"] == "not-needed"
    assert step(found, "query")["why"].startswith(f"no batch goes out: {verdict}")
    assert len(played.json("batch", "list")["batches"]) == 3
    assert played.run("run", "--budget", "6").code == 0  # without --exit-code


@pytest.mark.parametrize(("labels", "code"), [(0, 12), (8, 13)])
def test_other_verdicts_have_their_status_and_the_next_batch_goes_out(pool: SmallPool, labels: int, code: int) -> None:
    if labels:
        night(pool)
        answer(pool)
        answer(pool, "to_label.evaluation.csv")
    assert pool.run("run", "--budget", "6", "--exit-code").code == code
    assert len(rows(pool)) == 6


def test_an_exhausted_pool_is_no_failure(played: SmallPool) -> None:
    for _ in range(3):
        answer(played)
        answer(played, "to_label.csv")
        played.ok("run", "--budget", "20")
    outcome = played.run("run", "--budget", "20", "--json")
    assert outcome.code == 0
    assert step(json.loads(outcome.out), "query")["outcome"] == "not-needed"


def test_a_dry_run_says_what_would_be_done_and_does_nothing(played: SmallPool) -> None:
    file = answer(played)
    before = {str(path): path.read_bytes() for path in played.root.rglob("*") if path.is_file()}
    found = night(played, "--dry-run")
    assert steps(found) == {
        "inbox": "would-run", "pull": "not-needed", "train": "would-run", "score": "would-run",
        "evaluate": "would-run", "track": "not-needed", "plan": "would-run", "query": "not-needed",
        "report": "not-needed", "backup": "would-run",
    }  # fmt: skip
    assert "to_label.csv" in step(found, "inbox")["why"]
    assert step(found, "train")["why"] == "after inbox"
    assert {str(path): path.read_bytes() for path in played.root.rglob("*") if path.is_file()} == before
    assert file.exists()


def test_the_log_has_a_line_a_step_and_rotates(played: SmallPool, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = log(played)
    last = [line for line in lines if line["night"] == lines[-1]["night"]]
    assert [line["step"] for line in last] == [
        "inbox", "pull", "train", "score", "evaluate", "track", "plan", "query", "report", "backup",
        "night",
    ]  # fmt: skip
    assert {"night", "at", "step", "outcome", "why", "seconds", "exit_code"} <= last[2].keys()
    assert last[2]["details"]["version"] == "m-0001"
    from dalcli.nightly import run as nightly

    monkeypatch.setattr(nightly, "LOG_BYTES", 3000)
    for _ in range(4):
        night(played)
    names = sorted(path.name for path in (played.root / ".dalcli/run").iterdir())
    assert names[:3] == ["log.jsonl", "log.jsonl.1", "log.jsonl.2"]
    assert all((played.root / ".dalcli/run" / name).stat().st_size <= 3000 for name in names[:2])


def test_one_run_at_a_time(played: SmallPool) -> None:
    with compute_lock(played.root / ".dalcli/run.lock", "run"):
        outcome = played.run("run", "--budget", "6")
        assert outcome.code == 4
        assert "locked by `dalcli run`" in outcome.err
        assert played.run("run", "--budget", "6", "--dry-run").code == 0
    assert played.run("run", "--budget", "6").code == 0


def test_a_train_by_hand_makes_the_night_wait_or_end(played: SmallPool) -> None:
    answer(played)
    with compute_lock(played.root / ".dalcli/compute.lock", "train"):
        outcome = played.run("run", "--budget", "6", "--json")
    assert outcome.code == 4
    found = steps(json.loads(outcome.out))
    assert {found[name] for name in ("score", "evaluate", "plan", "query")} == {"left-out"}
    assert (found["train"], found["inbox"], found["backup"]) == ("failed", "done", "done")
    assert steps(night(played))["train"] == "done"


def test_images_that_vanished_fail_the_step_and_what_builds_on_it(played: SmallPool) -> None:
    answer(played)
    (played.root / "photos").rename(played.root / "gone")
    shutil.rmtree(played.root / ".dalcli/cache", ignore_errors=True)
    outcome = played.run("run", "--budget", "6", "--json")
    assert outcome.code == 1
    assert outcome.err.count("error: train: ") == 1
    found = steps(json.loads(outcome.out))
    assert (found["train"], found["query"], found["backup"]) == ("failed", "left-out", "done")
    (played.root / "gone").rename(played.root / "photos")
    assert steps(night(played))["query"] == "done"


def test_a_bug_is_told_as_one_and_the_state_is_backed_up(played: SmallPool, monkeypatch: pytest.MonkeyPatch) -> None:
    from dalcli.commands import plan

    answer(played)
    monkeypatch.setattr(plan, "run", lambda *_: 1 // 0)
    outcome = played.run("run", "--budget", "6")
    assert outcome.code == 70
    assert "a bug in dalcli" in outcome.err
    lines = log(played)
    assert [line["outcome"] for line in lines if line["step"] == "backup"][-1] == "done"
    assert [line["exit_code"] for line in lines if line["step"] == "plan"][-1] == 70


HEARD = "import json, sys; open('heard', 'a').write(json.loads(sys.stdin.read())['verdict'] + ' ')"


def test_a_hook_hears_of_nights_in_which_something_was_done(played: SmallPool) -> None:
    configure(played, after=[sys.executable, "-c", HEARD])
    night(played)
    assert not (played.root / "heard").exists()
    answer(played)
    night(played)
    night(played)
    assert (played.root / "heard").read_text() == "insufficient-data "
    assert [line["outcome"] for line in log(played) if line["step"] == "after"] == ["done"]


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("false", "ended with 1"),
        ("no-such-program --x", "cannot be run"),
        (["sh", "-c", "sleep 60 & echo late; wait"], "took longer than 0.3 seconds"),
    ],
)
def test_a_hook_that_fails_is_logged_and_never_fatal(
    played: SmallPool, command: str | Sequence[str], problem: str
) -> None:
    configure(played, after=command, after_timeout=0.3)
    answer(played)
    started = time.monotonic()
    outcome = played.run("run", "--budget", "6")
    assert outcome.code == 0
    assert f"warning: run.after: {command.split()[0] if isinstance(command, str) else 'sh'} {problem}" in outcome.err
    assert time.monotonic() - started < 30
    assert problem in log(played)[-1]["why"]


def test_a_hook_has_no_shell(played: SmallPool) -> None:
    configure(played, after="echo $(touch made) ; touch made")
    answer(played)
    night(played)
    assert not (played.root / "made").exists()
    assert log(played)[-1]["said"] == ["$(touch made) ; touch made"]


def test_backups_are_whole_rotate_and_can_be_put_back(played: SmallPool, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(played, keep_backups=2)
    answer(played)
    night(played)
    kept = sorted((played.root / ".dalcli/backups").iterdir())
    assert len(kept) == 2
    assert sorted(path.name for path in kept[-1].iterdir()) == [
        "backup.json", "dalcli.yaml", "models.json", "state.db",
    ]  # fmt: skip
    models = json.loads((kept[-1] / "models.json").read_text())
    weights = played.root / ".dalcli/models/m-0001/model.safetensors"
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert models[".dalcli/models/m-0001/model.safetensors"]["sha256"] == digest
    before = played.json("status")
    for path in (played.root / ".dalcli").glob("state.db*"):
        path.unlink()
    shutil.copy(kept[-1] / "state.db", played.root / ".dalcli/state.db")
    assert played.json("status") == before
    assert not night(played)["changed"] or steps(night(played))["backup"] == "not-needed"


def test_a_backup_elsewhere(played: SmallPool, tmp_path: Path) -> None:
    configure(played, backup=str(tmp_path / "other disk" / "w"))
    night(played)
    assert len(list((tmp_path / "other disk" / "w").iterdir())) == 1
    (tmp_path / "other disk" / "w").rename(tmp_path / "gone")
    (tmp_path / "other disk" / "w").write_text("not a folder")
    outcome = played.run("run", "--budget", "6")
    assert outcome.code == 1
    assert "error: backup: " in outcome.err


def test_a_damaged_copy_is_no_backup(played: SmallPool, monkeypatch: pytest.MonkeyPatch) -> None:
    from dalcli.state import backup

    configure(played)
    answer(played)
    kept = sorted((played.root / ".dalcli/backups").iterdir())
    monkeypatch.setattr(backup, "problem_of", lambda _: "*** in database main ***")
    outcome = played.run("run", "--budget", "6")
    assert outcome.code == 1
    assert "a copy of it is damaged: *** in database main ***" in outcome.err
    assert sorted((played.root / ".dalcli/backups").iterdir()) == kept


def test_problems_of_a_database_are_found(tmp_path: Path) -> None:
    from dalcli.state.backup import problem_of

    file = tmp_path / "a.db"
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("CREATE TABLE t (x TEXT UNIQUE)")
        connection.executemany("INSERT INTO t VALUES (?)", [(f"{number:050d}",) for number in range(2000)])
    assert problem_of(file) is None
    data = bytearray(file.read_bytes())
    data[9000:13000] = os.urandom(4000)
    file.write_bytes(data)
    assert problem_of(file) is not None
    (tmp_path / "text").write_text("no database" * 100)
    assert problem_of(tmp_path / "text") is not None


def test_the_time_is_up_before_it_begins(played: SmallPool, monkeypatch: pytest.MonkeyPatch) -> None:
    from dalcli.nightly import request
    from dalcli.nightly.deadline import Deadline

    answer(played)
    monkeypatch.setattr(request, "next_time", lambda *_: Deadline(time.time() - 1))
    outcome = played.run("run", "--budget", "6", "--until", "06:00", "--json")
    assert outcome.code == 0
    assert steps(json.loads(outcome.out))["inbox"] == "deadline"
    assert steps(night(played))["query"] == "done"


class _Swallows:
    """Half of whose life is spent where exceptions are lost."""

    def __init__(self) -> None:
        time.sleep(0.02)

    def __del__(self) -> None:
        time.sleep(0.02)


def test_a_deadline_that_falls_where_exceptions_are_lost_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from dalcli.nightly.deadline import Deadline, DeadlinePassed

    lost: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda found: lost.append(found.exc_type))

    def until_cut_off(also: float) -> None:
        with Deadline(time.time() + 0.03).cuts_off():
            begun = time.monotonic()
            try:
                while time.monotonic() < begun + 60:
                    _Swallows()
            finally:
                time.sleep(also)  # what it sets off is left to end

    for _ in range(20):
        with pytest.raises(DeadlinePassed):
            until_cut_off(also=0.3)
        if lost:
            break
    assert set(lost) == {DeadlinePassed}


def test_training_that_a_deadline_cuts_off_goes_on_to_the_same_weights(
    played: SmallPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dalcli.nightly import request
    from dalcli.nightly.deadline import Deadline
    from dalcli.training.resume import WriteBudget
    from tests.small_pools import same_weights

    long = {"max_epochs": 400, "patience": 400, "hold_epochs": 400}
    played.configure(run=QUICK, training=long)
    answer(played)
    other = copied(played, tmp_path / "other")
    monkeypatch.setattr(WriteBudget, "due", lambda self: True)
    with monkeypatch.context() as patched:
        patched.setattr(request, "next_time", lambda *_: Deadline(time.time() + 1.0))
        patched.setattr(sys, "unraisablehook", lambda _: None)  # the first may be raised where it is lost
        outcome = played.run("run", "--budget", "6", "--until", "06:00", "--json")
    found = json.loads(outcome.out)
    assert outcome.code == 0
    assert (steps(found)["train"], steps(found)["query"], steps(found)["backup"]) == ("deadline", "left-out", "done")
    assert (played.root / ".dalcli/models/m-0002/optimizer.safetensors").exists()
    again = played.run("run", "--budget", "6", "--json")
    assert "continuing m-0002" in again.err
    night(other)
    assert same_weights(played.weights("m-0002"), other.weights("m-0002"))
    assert (played.root / "to_label.csv").read_bytes() == (other.root / "to_label.csv").read_bytes()


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--budget", "0"), 2, "--budget 0 is out of range"),
        (("--evaluation-budget", "-1"), 2, "--evaluation-budget -1 is out of range"),
        ((), 2, "no budget given"),
        (("--budget", "5", "--until", "25:00"), 2, "--until 25:00: not a time of day"),
        (("--budget", "5", "--until", "tomorrow"), 2, "write it as 06:00"),
        (("--budget", "5", "--output", "no/where.csv"), 3, "no such folder"),
        (("--budget", "5", "--output", "."), 3, "is a folder"),
        (("--budget", "5", "--output", "/proc/to_label.csv"), 3, "/proc: cannot be written to"),
        (("--budget", "5", "--output", "-"), 3, "is no file"),
        (("--budget", "5", "--output", "/dev/null"), 3, "is no file"),
        (("--budget", "5", "--inbox", "nowhere"), 3, "nowhere: no such folder"),
        (("--budget", "5", "--output", "INBOX/to_label.csv"), 3, "lies in the inbox"),
    ],
)
def test_bad_options_change_nothing(pool: SmallPool, options: tuple[str, ...], code: int, said: str) -> None:
    placed = [option.replace("INBOX", str(pool.root / "inbox")) for option in options]
    outcome: Outcome = pool.run("run", *placed)
    assert (outcome.code, outcome.out) == (code, "")
    assert said in outcome.err
    assert not (pool.root / ".dalcli/run").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("run: {inbx: a}", "did you mean 'inbox'?"),
        ("run: {after: 7}", "should be a command"),
        ("run: {after: 'a \"b'}", "run.after"),
        ("run: {keep_backups: -1}", "run.keep_backups"),
        ("run: {credentials: nothing.env}", "run.credentials: nothing.env: no such file"),
        ("run: {format: cvs}", "did you mean 'csv'?"),
        ("tracking: {mlflo: x}", "did you mean 'mlflow'?"),
    ],
)
def test_bad_settings_are_told_with_their_key(pool: SmallPool, text: str, said: str) -> None:
    (pool.root / "dalcli.yaml").write_text(f"{yaml.safe_dump(SETTINGS)}{text}\n")
    outcome = pool.run("run", "--budget", "5")
    assert outcome.code in {2, 3}
    assert said in outcome.err


def test_a_folder_in_the_inbox_is_left_to_people(pool: SmallPool) -> None:
    (pool.root / "inbox/answers/red").mkdir(parents=True)
    found = step(night(pool), "inbox")
    assert found["outcome"] == "not-needed"
    assert found["why"] == "no file; folders are taken in by hand: dalcli ingest-labels inbox/answers"


def test_a_target_that_only_lacks_its_proof_gets_evaluation_samples_and_no_training_batch(
    played: SmallPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dalcli.planning import verdict as judging

    answer(played)
    monkeypatch.setattr(judging, "_by_measurement", lambda *_: ("need-evaluation-labels", "not proven"))
    played.configure(run=QUICK, training={"max_epochs": 2}, plan={"target": 0.5})
    before = (played.root / "to_label.csv").read_bytes()
    found = step(night(played), "query")
    assert [batch["purpose"] for batch in found["details"]["batches"]] == ["evaluation"]
    assert (played.root / "to_label.csv").read_bytes() == before
    (played.root / "to_label.evaluation.csv").unlink()
    again = step(night(played), "query")
    assert [batch["again"] for batch in again["details"]["batches"]] == [True]
    played.configure(run={"settle": 0}, training={"max_epochs": 2}, plan={"target": 0.5})  # nobody may hand them out
    found = step(night(played), "query")
    assert [batch["purpose"] for batch in found["details"]["batches"]] == ["training"]


def test_out_of_memory_is_told_as_such(played: SmallPool, monkeypatch: pytest.MonkeyPatch) -> None:
    from dalcli.commands import train

    def exhausted(*_: Any, **__: Any) -> Any:
        raise MemoryError

    answer(played)
    monkeypatch.setattr(train, "run", exhausted)
    outcome = played.run("run", "--budget", "6")
    assert outcome.code == 1
    assert "error: train: out of memory\nlower training.batch_size" in outcome.err


def test_numbers_that_json_lacks_are_null() -> None:
    from dalcli.nightly import run as nightly
    from dalcli.nightly.step import StepReport

    report = StepReport("plan", "done", "", 0.1, details={"value": float("inf"), "p": [float("nan"), 0.5]})
    assert nightly.document(report)["details"] == {"value": None, "p": [None, 0.5]}


def test_a_bad_file_that_somebody_is_mending_is_not_refused_under_their_hands(
    pool: SmallPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dalcli.commands import ingest_labels

    night(pool)
    file, real = pool.root / "inbox/labels.csv", ingest_labels.run
    file.write_text("path,label\nphotos/red-00.png,re")

    def run(*arguments: Any) -> Any:
        with file.open("a") as opened:
            opened.write("d\n")
        return real(*arguments[:1], pool.root / "bad.csv", *arguments[2:])

    (pool.root / "bad.csv").write_text("path,label\nphotos/red-00.png,re")
    monkeypatch.setattr(ingest_labels, "run", run)
    assert step(night(pool), "inbox")["details"] == {"files": [], "labels": 0, "refused": [], "left": 1}
    monkeypatch.undo()
    assert step(night(pool), "inbox")["details"]["labels"] == 1


def test_a_backup_that_would_say_the_same_is_not_kept_twice(played: SmallPool) -> None:
    kept = sorted((played.root / ".dalcli/backups").iterdir())
    os.utime(played.root / ".dalcli/state.db")
    found = step(night(played), "backup")
    assert (found["outcome"], found["details"]["made"]) == ("done", False)
    assert sorted((played.root / ".dalcli/backups").iterdir()) == kept
    assert step(night(played), "backup")["outcome"] == "not-needed"


@pytest.mark.parametrize(
    ("now", "text", "expected"),
    [
        ("2026-11-26 02:30:00", "06:00", "2026-11-26 06:00:00"),
        ("2026-11-26 23:10:00", "06:00", "2026-11-27 06:00:00"),
        ("2026-11-26 06:00:00", "06:00", "2026-11-26 06:00:00"),
        ("2026-11-26 06:00:59", "06:00", "2026-11-26 06:00:00"),  # it begins a little late: it is over
        ("2026-11-26 06:01:00", "06:00", "2026-11-27 06:00:00"),
        ("2026-12-31 23:59:59", "00:00", "2027-01-01 00:00:00"),
    ],
)
def test_which_moment_a_time_of_day_means(now: str, text: str, expected: str) -> None:
    moment = next_time(text, datetime.fromisoformat(now).astimezone())
    assert moment.at == datetime.fromisoformat(expected).astimezone().timestamp()
