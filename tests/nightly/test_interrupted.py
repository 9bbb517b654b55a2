"""A night that is killed at a chosen moment goes on there, and ends as one that was not."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests import processes
from tests.nights import QUICK, answer, night, steps
from tests.processes import FailAtCall, Patch, SignalAtCall
from tests.small_pools import SmallPool, copied, make_pool, same_weights

NIGHT = ["run", "--budget", "6", "--quiet"]


@pytest.fixture(scope="module")
def _answered(tmp_path_factory: pytest.TempPathFactory) -> SmallPool:
    pool = make_pool(
        tmp_path_factory.mktemp("night") / "w", run={**QUICK, "keep_backups": 2}, training={"max_epochs": 2}
    )
    (pool.root / "inbox").mkdir()
    night(pool)
    answer(pool)
    answer(pool, "to_label.evaluation.csv")
    return pool


@pytest.fixture(scope="module")
def undisturbed(_answered: SmallPool, tmp_path_factory: pytest.TempPathFactory) -> SmallPool:
    """What the night comes to."""
    pool = copied(_answered, tmp_path_factory.mktemp("undisturbed") / "w")
    night(pool)
    return pool


@pytest.fixture
def pool(_answered: SmallPool, tmp_path: Path) -> SmallPool:
    """One night before: two files of answers are in the inbox."""
    return copied(_answered, tmp_path / "w")


MOMENTS = {
    "before the first label": SignalAtCall("dalcli.labels.recording:record"),
    "between a file's labels and its move": SignalAtCall("dalcli.nightly.inbox:put_away"),
    "between two files": SignalAtCall("dalcli.nightly.inbox:put_away", 2),
    "while training": SignalAtCall("dalcli.training.loop:save_run", 2),
    "before the version is finished": SignalAtCall("dalcli.state.versions:finish"),
    "while scoring": SignalAtCall("dalcli.scores.store:ScoreStore.record", 3),
    "before the measurement": SignalAtCall("dalcli.state.evaluations:store"),
    "before the batch is issued": SignalAtCall("dalcli.state.batches:issue"),
    "between the batch and its file": SignalAtCall("dalcli.nightly.output:write"),
    "in the file": SignalAtCall("dalcli.nightly.output:write_bytes"),
    "while backing up": SignalAtCall("dalcli.nightly.backups:copy_database"),
    "before the backup is there": SignalAtCall("dalcli.nightly.backups:_models"),
    "while an old backup is removed": SignalAtCall("dalcli.nightly.backups:_rotate"),
    "in the log": SignalAtCall("dalcli.state.journal:Journal.append", 5),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed(pool: SmallPool, undisturbed: SmallPool, moment: str) -> None:
    outcome = processes.run(pool, NIGHT, processes.EveryEpoch(), MOMENTS[moment])
    assert outcome.code == -signal.SIGKILL, outcome
    ended_alike(pool, undisturbed)


def full(target: str, number: int = 1) -> Patch:
    return FailAtCall(target, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/disk/file"), number)


@pytest.mark.parametrize(
    "patch",
    [
        full("dalcli.nightly.inbox:put_away"),
        full("dalcli.training.loop:save_run"),
        full("dalcli.scores.store:ScoreStore.record", 2),
        full("dalcli.nightly.output:write_bytes"),
        full("dalcli.nightly.backups:copy_database"),
    ],
    ids=lambda patch: patch.target,
)
def test_a_full_disk_is_a_clear_error_and_the_next_night_goes_on(
    pool: SmallPool, undisturbed: SmallPool, patch: FailAtCall
) -> None:
    outcome = processes.run(pool, NIGHT, patch)
    assert outcome.code == 1, outcome
    assert "No space left on device" in outcome.err
    assert "the next run goes on here" in outcome.err
    ended_alike(pool, undisturbed)


def test_a_log_that_cannot_be_written_is_told_and_stops_nothing(pool: SmallPool, undisturbed: SmallPool) -> None:
    outcome = processes.run(pool, NIGHT, full("dalcli.state.journal:Journal.append", 3))
    assert outcome.code == 0, outcome
    assert "this night's log is not complete" in outcome.err
    ended_alike(pool, undisturbed)


def test_ctrl_c_says_that_progress_is_kept(pool: SmallPool, undisturbed: SmallPool) -> None:
    patch = SignalAtCall("dalcli.training.loop:save_run", 2, signal.SIGINT)
    outcome = processes.run(pool, NIGHT, processes.EveryEpoch(), patch)
    assert outcome.code == 130
    assert "progress is kept" in outcome.err
    assert '"outcome": "interrupted"' in (pool.root / ".dalcli/run/log.jsonl").read_text()
    ended_alike(pool, undisturbed)


def test_sigterm_ends_it_as_systemd_does(pool: SmallPool, undisturbed: SmallPool) -> None:
    patch = SignalAtCall("dalcli.scores.store:ScoreStore.record", 2, signal.SIGTERM)
    assert processes.run(pool, NIGHT, patch).code == 143
    ended_alike(pool, undisturbed)


def ended_alike(pool: SmallPool, undisturbed: SmallPool) -> None:
    """The night is run again: everything is as if nothing had happened, and a third run does nothing."""
    found = night(pool)
    assert found["exit_code"] == 0
    assert same_weights(pool.weights(), undisturbed.weights())
    for name in ("to_label.csv", "to_label.evaluation.csv"):
        assert (pool.root / name).read_bytes() == (undisturbed.root / name).read_bytes()
    assert summary(pool) == summary(undisturbed)
    assert not list((pool.root / "inbox").glob("*.csv"))
    backups = sorted((pool.root / ".dalcli/backups").iterdir())
    assert 1 <= len(backups) <= 2
    assert all((folder / "backup.json").is_file() for folder in backups)
    again = night(pool)
    assert not again["changed"], steps(again)


def summary(pool: SmallPool) -> dict[str, Any]:
    status = pool.json("status")
    model = {key: status["model"][key] for key in ("version", "labels", "epochs", "stopped", "train_loss")}
    listed = [(batch["batch_id"], batch["answered"], batch["open"]) for batch in pool.json("batch", "list")["batches"]]
    kept = {key: status[key] for key in ("states", "labels_per_class", "unscored", "curve", "next_step")}
    return kept | {"model": model, "batches": listed}
