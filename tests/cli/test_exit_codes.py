"""Every exit status, reached through the real command line; errors are one or two lines and a list."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from dalcli_runner import environment, finish, message, ok, problems, run, run_process, start, write_labels
from workspaces import add_model, dump, image, make


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make(tmp_path / "work")


# 0 ------------------------------------------------------------------------------------------------------------------


def test_0_also_when_up_to_date(root: Path) -> None:
    assert run_process(root, "status").code == 0
    assert run_process(root, "--version").out.startswith(b"dalcli ")
    assert run_process(root, "query", "--help").code == 0


# 1 ------------------------------------------------------------------------------------------------------------------


def test_1_when_the_disk_is_full_and_the_batch_stays_open(root: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        failed = run_process(root, "query", "--budget", "3", stdout=full)
    assert failed.code == 1
    assert message(failed) == [
        "error: cannot write to standard output: No space left on device",
        "batch b-0001 stays open: run the same command again",
    ]
    assert len(ok(root, "query", "--budget", "3").rows) == 3


@pytest.mark.parametrize("arguments", [("status",), ("status", "--json"), ("--help",), ("batch", "list")])
def test_1_when_anything_else_cannot_be_printed(root: Path, arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full:
        assert run_process(root, *arguments, stdout=full).code == 1


def test_1_when_the_state_cannot_grow(root: Path) -> None:
    before = dump(root)

    def no_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    failed = run_process(root, "query", "--budget", "12", preexec_fn=no_room)
    assert failed.code == 1
    assert "state.db" in message(failed)[0]
    assert dump(root) == before


def test_1_when_the_database_is_of_a_newer_program(root: Path) -> None:
    import sqlite3

    connection = sqlite3.connect(root / ".dalcli" / "state.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    failed = run(root, "status")
    assert failed.code == 1
    assert "upgrade" in message(failed)[1]


def test_1_when_standard_output_is_closed(root: Path) -> None:
    command = f'exec "{sys.executable}" -m dalcli status >&-'
    closed = subprocess.run(["sh", "-c", command], cwd=root, env=environment(), capture_output=True, timeout=60)
    assert closed.returncode == 1
    assert b"standard output is closed" in closed.stderr


# 2 ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("status", "--bogus"),
        ("statsu",),
        ("query", "--budget", "0"),
        ("query", "--budget", "-1"),
        ("query", "--budget", "x"),
        ("query", "--budget", "99999999999999999999"),
        ("query", "--budget", "3", "--gamma", "-1"),
        ("query", "--budget", "3", "--gamma", "nan"),
        ("query", "--budget", "3", "--gamma", "1"),
        ("query", "--budget", "3", "--strategy", "margin", "--gamma", "1"),
        ("query", "--budget", "3", "--key", "k"),
        ("query", "--budget", "3", "--new", "--key", ""),
        ("query", "--budget", "3", "--strategy", "margn"),
        ("query", "--budget", "3", "--purpose", "fun"),
        ("query",),
        ("train", "--wait", "-1"),
        ("ingest-labels",),
        ("ingest-labels", "x.csv", "--on-conflict", "maybe"),
        ("pool", "list", "--state", "x"),
    ],
)
def test_2_for_usage(root: Path, arguments: tuple[str, ...]) -> None:
    before = dump(root)
    refused = run(root, *arguments)
    assert refused.code == 2
    assert message(refused)
    assert dump(root) == before


def test_2_before_anything_else_is_looked_at(tmp_path: Path) -> None:
    assert run(tmp_path, "query", "--budget", "0").code == 2
    assert run(tmp_path, "query", "--budget", "1", "--strategy", "margn").code == 2


def test_2_suggests_what_was_meant(root: Path) -> None:
    refused = run(root, "query", "--budget", "1", "--strategy", "margn")
    assert "did you mean 'margin'?" in refused.err
    assert "dynamical, random" in message(refused)[1]


@pytest.mark.parametrize("arguments", [(), ("pool",), ("batch",)])
def test_2_and_the_help_for_half_a_command(root: Path, arguments: tuple[str, ...]) -> None:
    refused = run(root, *arguments)
    assert refused.code == 2
    assert refused.err.startswith("Usage: dalcli")
    assert "error:" not in refused.err


# 3 ------------------------------------------------------------------------------------------------------------------


def test_3_names_everything_wrong_in_the_configuration_at_once(root: Path) -> None:
    (root / "dalcli.yaml").write_text("seed: many\nquerry:\n  gamma: 1\ntraining:\n  max_epoch: 3\n  max_epochs: 0\n")
    for arguments in (("status",), ("query", "--budget", "1"), ("pool", "list")):
        refused = run(root, *arguments)
        assert refused.code == 3
        assert message(refused)[0].endswith("dalcli.yaml: 4 problems")
        assert problems(refused) == [
            "line 1: seed: should be a valid integer, unable to parse string as an integer, got 'many'",
            "line 2: querry: unknown key: did you mean 'query'?",
            "line 5: training.max_epoch: unknown key: did you mean 'max_epochs'?",
            "line 6: training.max_epochs: should be greater than or equal to 1, got 0",
        ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("classes: [dog, cat]\n", "contradicts the workspace's cat, dog"),
        ("classes: [cat, dog, bird]\n", "--allow-new-classes"),
        ("evaluation: {reserve: 0.5}\n", "fixed by `init`"),
        ("query: {strategy: margn}\n", "query.strategy: unknown strategy 'margn': did you mean 'margin'?"),
        ("query: {cold_start: radom}\n", "query.cold_start: unknown strategy 'radom'"),
        ("a: [\n", "not valid YAML"),
    ],
)
def test_3_for_a_configuration_that_contradicts_the_workspace(root: Path, text: str, reason: str) -> None:
    (root / "dalcli.yaml").write_text(text)
    refused = run(root, "query", "--budget", "1")
    assert refused.code == 3
    assert reason in refused.err
    assert run(root, "train").err == refused.err  # not only once the night's training is done


def test_3_for_an_unknown_strategy_before_a_workspace_is_made(tmp_path: Path) -> None:
    (tmp_path / "dalcli.yaml").write_text("query: {strategy: margn}\n")
    image(tmp_path / "photos" / "a.png", 1)
    refused = run(tmp_path, "init", "photos", "--classes", "cat,dog")
    assert refused.code == 3
    assert message(refused)[0].endswith("dalcli.yaml: query.strategy: unknown strategy 'margn': did you mean 'margin'?")
    assert not (tmp_path / ".dalcli").exists()


def test_3_for_a_lost_configuration(root: Path) -> None:
    (root / "dalcli.yaml").unlink()
    refused = run(root, "status")
    assert refused.code == 3
    assert "empty file" in message(refused)[1]
    (root / "dalcli.yaml").touch()
    ok(root, "status")


# 4 ------------------------------------------------------------------------------------------------------------------

HOLD = """
import sys, time
from pathlib import Path
from dalcli.state.lock import compute_lock
with compute_lock(Path(sys.argv[1]), "train"):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def hold(root: Path, seconds: float) -> subprocess.Popen[bytes]:
    """A live process that holds the compute lock."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(root / ".dalcli" / "compute.lock"), str(seconds)],
        env=environment(),
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    return holder


def test_4_while_a_live_process_computes(root: Path) -> None:
    from dalcli.errors import LockedError
    from dalcli.state.lock import compute_lock

    lock = root / ".dalcli" / "compute.lock"
    holder = hold(root, 60)
    try:
        with (
            pytest.raises(LockedError, match=f"`dalcli train` \\(process {holder.pid} on ") as caught,
            compute_lock(lock, "score"),
        ):
            pass
        assert "--wait SECONDS" in str(caught.value.remedy)
        with pytest.raises(LockedError), compute_lock(lock, "score", wait=0.1):
            pass
        threading.Timer(0.3, holder.kill).start()
        with compute_lock(lock, "score", wait=60):  # so it waited
            pass
    finally:
        holder.kill()
        holder.communicate()
    with compute_lock(lock, "score"):  # the lock does not outlive its process
        facts = json.loads(lock.with_suffix(".json").read_text())
        assert facts["pid"] == os.getpid()


def test_4_from_the_command_line_unless_it_may_wait(root: Path) -> None:
    rows = ok(root, "query", "--budget", "2").rows
    ok(root, "ingest-labels", write_labels(root / "l.csv", rows, all_of_them="cat"))
    add_model(root)
    holder = hold(root, 60)
    try:
        refused = run(root, "score", "--wait", "0.2")
        assert refused.code == 4
        assert "locked by `dalcli train`" in message(refused)[0]
        assert run(root, "query", "--budget", "2").code == 4  # it would have to score
    finally:
        holder.kill()
        holder.communicate()


def test_4_for_a_second_init(tmp_path: Path) -> None:
    from filelock import FileLock

    (tmp_path / ".dalcli.partial").mkdir()
    with FileLock(tmp_path / ".dalcli.partial" / "init.lock"):
        refused = run_process(tmp_path, "init", "--classes", "a,b")
    assert refused.code == 4


# 5 and 6 ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [("status",), ("query", "--budget", "1"), ("ingest-labels", "x.csv"), ("batch", "list"), ("pool", "list")],
)
def test_5_without_a_workspace(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    refused = run(tmp_path, *arguments)
    assert refused.code == 5
    assert message(refused) == [
        f"error: no workspace in {tmp_path} or any folder above it",
        "make one: dalcli init IMAGES... --classes a,b,c",
    ]


def test_5_with_other_options_and_with_a_stale_model(root: Path) -> None:
    rows = ok(root, "query", "--budget", "2").rows
    assert run(root, "query", "--budget", "3").code == 5
    ok(root, "ingest-labels", write_labels(root / "1.csv", rows[:1], all_of_them="cat"))
    add_model(root)
    ok(root, "ingest-labels", write_labels(root / "2.csv", rows[1:], all_of_them="cat"))
    assert run(root, "query", "--budget", "3").code == 5


def test_6_when_nothing_is_left(root: Path) -> None:
    ok(root, "query", "--budget", "12")
    refused = run(root, "query", "--new", "--budget", "1")
    assert refused.code == 6
    assert "0 unlabeled, 12 in flight" in refused.err


# 70 -----------------------------------------------------------------------------------------------------------------


def test_70_keeps_the_traceback_in_a_log(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dalcli.commands import status

    def broken(session: object) -> None:
        raise RuntimeError("one\ntwo")

    monkeypatch.setattr(status, "run", broken)
    failed = run(root, "status", "--quiet")
    assert failed.code == 70
    assert len(failed.err.splitlines()) == 1
    assert "errors.log" in failed.err
    log = (root / ".dalcli" / "errors.log").read_text()
    assert "Traceback" in log
    assert "RuntimeError: one" in log
    assert "dalcli status --quiet" in log


def test_70_logs_in_the_workspace_that_was_named(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dalcli.commands import status

    monkeypatch.setattr(status, "run", lambda session: 1 / 0)
    assert run(tmp_path, "status", "-C", root).code == 70
    assert (root / ".dalcli" / "errors.log").exists()


# 130 and 143: see also test_init_command.py --------------------------------------------------------------------------


def test_an_interruption_is_one_line(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dalcli.cli.main import Terminated
    from dalcli.commands import status

    for exception, code in ((KeyboardInterrupt, 130), (Terminated, 143)):

        def interrupted(session: object, exception: type[BaseException] = exception) -> None:
            raise exception

        monkeypatch.setattr(status, "run", interrupted)
        outcome = run(root, "status")
        assert outcome.code == code
        assert len(outcome.err.splitlines()) == 1
        assert "progress is kept" in outcome.err


def test_closing_standard_output_early_is_no_error(root: Path) -> None:
    """The reader is gone before the first byte, as in ``dalcli query | head -0``."""
    for arguments in (("query", "--budget", "5"), ("pool", "list"), ("status", "--json"), ("--help",)):
        reading, writing = os.pipe()
        os.close(reading)
        with os.fdopen(writing, "wb") as closed:
            outcome = finish(start(root, *arguments, "--quiet" if arguments[0] != "--help" else "-h", stdout=closed))
        assert (outcome.code, outcome.err) == (0, ""), arguments


def test_piping_into_head(tmp_path: Path) -> None:
    root = make(tmp_path / "work", 50)
    command = f'"{sys.executable}" -m dalcli query --budget 50 --quiet | head -1; exit ${{PIPESTATUS[0]}}'
    piped = subprocess.run(["bash", "-c", command], cwd=root, env=environment(), capture_output=True, timeout=60)
    assert (piped.returncode, piped.stderr) == (0, b"")
    assert piped.stdout.startswith(b"sample_id,")
