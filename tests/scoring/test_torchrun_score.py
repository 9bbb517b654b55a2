"""``torchrun -m dalcli score``: what one process makes, by two, whichever of them is killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from dalcli.cli.main import main
from tests.score_tables import assert_same_table
from tests.small_pools import SmallPool, copied
from tests.torchruns import kill, make_trained_pool, run


@pytest.fixture(scope="module")
def _trained(tmp_path_factory: pytest.TempPathFactory) -> SmallPool:
    return make_trained_pool(tmp_path_factory.mktemp("trained") / "w")


@pytest.fixture(scope="module")
def alone(_trained: SmallPool, tmp_path_factory: pytest.TempPathFactory) -> SmallPool:
    """What a single process made of the same pool."""
    pool = copied(_trained, tmp_path_factory.mktemp("alone") / "w")
    pool.ok("score", "--full")
    assert len(pool.shards()) == 11
    return pool


@pytest.fixture
def trained(_trained: SmallPool, tmp_path: Path) -> SmallPool:
    return copied(_trained, tmp_path / "w")


def test_two_processes_make_the_table_of_one_and_print_once(trained: SmallPool, alone: SmallPool) -> None:
    ended = run(trained, "score", "--full")
    assert ended.code == 0, ended.err
    assert_same_table(trained, alone)
    assert ended.out == alone.ok("score", "--full").out
    [line] = ended.err.splitlines()
    assert line.startswith("scored 66 samples in ")
    assert " s in 2 processes: " in line


def test_torchrun_itself_redoes_what_a_killed_worker_was_doing(trained: SmallPool, alone: SmallPool) -> None:
    kill(trained, 1, after=4)
    ended = run(trained, "score", "--full", restarts=1)
    assert ended.code == 0, ended.err
    assert not (trained.root / "kill").exists(), "it was killed"
    assert_same_table(trained, alone)
    assert ended.out == alone.ok("score", "--full").out
    # Two waves of two shards of six were recorded before, and not made again.
    assert "scored 42 samples in " in ended.err
    assert len(ended.errors) <= 1  # none if torchrun was faster than the closed connection


def test_without_restarts_what_is_complete_stays_and_one_process_goes_on(trained: SmallPool, alone: SmallPool) -> None:
    kill(trained, 0, after=4)
    ended = run(trained, "score", "--full")
    assert ended.code != 0
    assert ended.out == ""
    assert not (trained.root / "kill").exists(), "it was killed"
    assert len(ended.errors) <= 1
    assert all(error.startswith("another process of this torchrun is gone (") for error in ended.errors)
    assert "scored 42 samples in " in trained.ok("score", "--full").err
    assert_same_table(trained, alone)


def under_torchrun(monkeypatch: pytest.MonkeyPatch, rank: int) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("command", [["query", "--budget", "3"], ["pool", "list"], ["status"], ["init", "."]])
def test_commands_that_share_no_work_are_refused(
    trained: SmallPool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    command: list[str],
) -> None:
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "error.json"))
    under_torchrun(monkeypatch, 0)
    assert main([*command, "-C", str(trained.root)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        "error: torchrun started 2 processes, and only train and score share their work\n"
        f"run it without torchrun: dalcli {command[0]}\n"
    )
    assert "only train and score share their work" in (tmp_path / "error.json").read_text()
    # torchrun ends all processes as soon as one fails: the one that speaks has to be the one that fails.
    under_torchrun(monkeypatch, 1)
    assert main([*command, "-C", str(trained.root)]) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")
    monkeypatch.undo()
    assert trained.json("status")["open_batches"] == []


def test_a_dry_run_is_made_by_the_first_process_alone(
    trained: SmallPool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["score", "--full", "--dry-run", "-C", str(trained.root)]
    under_torchrun(monkeypatch, 1)
    assert main(arguments) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")
    under_torchrun(monkeypatch, 0)
    assert main(arguments) == 0
    captured = capsys.readouterr()
    assert "66" in captured.out
    assert "one of the 2 processes" in captured.err


def test_options_that_do_not_exist_are_told_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for rank, code in ((0, 2), (1, 0)):
        under_torchrun(monkeypatch, rank)
        assert main(["score", "--full", "--nonsense"]) == code
    assert capsys.readouterr().err.count("No such option") == 1
