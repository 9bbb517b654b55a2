"""Who may read a workspace and not write it: a colleague, or anybody while its disk is mounted read-only."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from dalcli_runner import message, ok, run
from permissions import only_readable
from planned_workspaces import planned

from dalcli.errors import DalcliError, ExitCode, LockedError
from dalcli.state import read_only
from dalcli.state.database import Database

SIZES = [100 * n for n in range(1, 6)]
COMMIT = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode = WAL")
connection.execute("CREATE TABLE written_late (value)")
os.kill(os.getpid(), 9)
"""


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planned(tmp_path_factory.mktemp("rounds") / "work", SIZES)


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("command", [["status"], ["batch", "list"], ["labels", "export"], ["plan"]], ids=" ".join)
def test_commands_that_tell_say_the_same(rounds: Path, command: list[str]) -> None:
    expected = ok(rounds, *command)
    before = contents(rounds)
    with only_readable(rounds):
        assert ok(rounds, *command).out == expected.out
    assert contents(rounds) == before


def test_a_first_plan_answers_and_keeps_nothing(tmp_path: Path) -> None:
    root = planned(tmp_path / "work", SIZES)
    with only_readable(root):
        found = ok(root, "plan", "--json").json
    assert found["band"]
    assert ok(root, "plan", "history", "--json").json["forecasts"] == []
    assert ok(root, "plan", "--json").json == found  # and now it is kept
    assert len(ok(root, "plan", "history", "--json").json["forecasts"]) == 1


def test_commands_that_change_refuse(rounds: Path) -> None:
    before = contents(rounds)
    with only_readable(rounds):
        refused = run(rounds, "query", "--budget", "3", "--strategy", "random")
    assert refused.code == ExitCode.FAILED
    assert refused.out == b""
    assert "you may read what is here and not change it; nothing was changed" in message(refused)[0]
    assert contents(rounds) == before


def test_what_may_not_even_be_read_is_refused(rounds: Path) -> None:
    database = rounds / ".dalcli" / "state.db"
    mode = database.stat().st_mode
    with only_readable(rounds):
        database.chmod(0)
        try:
            refused = run(rounds, "status")
        finally:
            database.chmod(mode)
    assert refused.code == ExitCode.FAILED
    assert message(refused)[1] == "check the disk and its permissions"


def test_what_a_writer_has_just_committed_is_seen(tmp_path: Path) -> None:
    root = planned(tmp_path / "work", SIZES)
    path = root / ".dalcli" / "state.db"
    with Database(path) as writer:
        with writer.write() as connection:
            connection.execute("CREATE TABLE written_late (value)")
        with only_readable(root), Database(path) as reader, reader.read() as connection:
            assert not reader.writable
            assert connection.execute("SELECT count(*) FROM written_late").fetchone()[0] == 0


def killed_after_a_commit(root: Path) -> Path:
    path = root / ".dalcli" / "state.db"
    died = subprocess.run([sys.executable, "-c", COMMIT, str(path)], check=False)
    assert died.returncode == -signal.SIGKILL
    assert path.with_name("state.db-wal").stat().st_size > 0
    return path


def test_what_a_killed_writer_had_committed_is_seen(tmp_path: Path) -> None:
    path = killed_after_a_commit(planned(tmp_path / "work", SIZES))
    with only_readable(tmp_path), Database(path) as reader, reader.read() as connection:
        assert connection.execute("SELECT count(*) FROM written_late").fetchone()[0] == 0


def test_a_log_without_its_index_needs_its_owner(tmp_path: Path) -> None:
    root = planned(tmp_path / "work", SIZES)
    path = killed_after_a_commit(root)
    path.with_name("state.db-shm").unlink()  # as a copy of the folder may lack it
    with only_readable(root):
        refused = run(root, "status")
    assert refused.code == ExitCode.FAILED
    assert message(refused)[1] == "ask who owns the workspace to run: dalcli status"
    ok(root, "status")
    with only_readable(root):
        ok(root, "status")


def test_a_snapshot_that_was_written_meanwhile_does_not_count(tmp_path: Path) -> None:
    path = planned(tmp_path / "work", SIZES) / ".dalcli" / "state.db"
    with pytest.raises(LockedError, match="began to write"), read_only.left_alone(path):
        with Database(path) as writer, writer.write() as connection:
            connection.execute("CREATE TABLE written_late (value)")
        raise sqlite3.DatabaseError("database disk image is malformed")
    with read_only.left_alone(path):
        pass


def test_an_older_schema_is_migrated_by_its_owner(tmp_path: Path) -> None:
    root = planned(tmp_path / "work", SIZES)
    path = root / ".dalcli" / "state.db"
    connection = sqlite3.connect(path)
    newest = connection.execute("PRAGMA user_version").fetchone()[0]
    connection.execute(f"PRAGMA user_version = {newest - 1}")
    connection.close()
    with only_readable(root), pytest.raises(DalcliError, match="not change it"):
        Database(path)
    assert os.access(path, os.W_OK)
