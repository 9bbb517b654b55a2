"""Commands running at the same time: one computes, the others are told, wait, or do not mind."""

from __future__ import annotations

from pathlib import Path

from tests import processes
from tests.processes import HangAtCall, Running
from tests.small_pools import SmallPool

EPOCH = "dalcli.training.loop:train_epoch"


def hanging(pool: SmallPool, command: str, target: str, marker: Path) -> Running:
    """A command that waits in the middle of its work until ``marker`` has gone."""
    running = processes.start(pool, command.split(), HangAtCall(target, marker))
    processes.wait_until(marker.exists)
    return running


def test_of_two_trainings_one_is_told_who_holds_the_lock(labeled: SmallPool, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    first = hanging(labeled, "train", EPOCH, marker)
    second = labeled.run("train")
    assert second.code == 4
    assert f"process {first.process.pid}" in second.err
    assert "--wait" in second.err
    waiting = processes.start(labeled, ["train", "--wait", "60"])
    marker.unlink()
    first_outcome, second_outcome = first.finish(), waiting.finish()
    assert (first_outcome.code, second_outcome.code) == (0, 0)
    assert first_outcome.out == second_outcome.out
    assert second_outcome.err == "up to date: m-0001 was trained on all 14 labels\n"


def test_a_killed_holder_leaves_no_lock_behind(labeled: SmallPool, tmp_path: Path) -> None:
    hanging(labeled, "train", EPOCH, tmp_path / "marker").kill()
    assert "continuing m-0001" in labeled.ok("train").err


def test_labels_come_in_while_training_runs(labeled: SmallPool, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    running = hanging(labeled, "train", EPOCH, marker)
    labeled.label(labeled.pool("unlabeled")[:3])
    assert labeled.json("status")["states"]["training"]["labeled"] == 17
    assert len(labeled.ok("query", "--budget", "2").out.splitlines()) == 3
    marker.unlink()
    assert running.finish().code == 0
    status = labeled.json("status")
    assert status["model"]["labels"] == 14
    assert status["newer_labels"] == 3
    assert labeled.json("train")["model"]["labels"] == 17


def test_a_query_that_must_score_waits_for_score(trained: SmallPool, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    running = hanging(trained, "score --full", "dalcli.state.scores:add", marker)
    assert trained.run("query", "--budget", "3").code == 4
    waiting = processes.start(trained, ["query", "--budget", "3", "--wait", "60"])
    marker.unlink()
    assert running.finish().code == 0
    outcome = waiting.finish()
    assert outcome.code == 0
    assert len(outcome.out.splitlines()) == 4
    assert len(trained.scores()) == len(trained.pool())


def test_a_query_on_stored_scores_never_waits(scored: SmallPool, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    running = hanging(scored, "score --full", "dalcli.scores.store:ShardFile.blocks", marker)
    assert scored.run("query", "--budget", "3").code == 0
    marker.unlink()
    assert running.finish().code == 0


def test_a_query_with_missing_scores_scores_first_and_never_trains(trained: SmallPool) -> None:
    outcome = trained.ok("query", "--budget", "3")
    assert "scored" in outcome.err
    assert len(trained.scores()) == len(trained.pool())
    assert trained.json("status")["model"]["version"] == "m-0001"
    trained.label(trained.pool("unlabeled")[:3])
    stale = trained.run("query", "--budget", "3", "--new")
    assert stale.code == 5
    assert "dalcli train" in stale.err
    assert trained.json("status")["model"]["version"] == "m-0001"
