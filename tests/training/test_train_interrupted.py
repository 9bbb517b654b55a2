"""A killed ``train`` goes on where it was and ends in the same weights, bit for bit."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests import processes
from tests.processes import EveryEpoch, FailAtCall, SignalAtCall
from tests.small_pools import SmallPool, copied, same_weights

LEFT_BEHIND = {"model.safetensors", "meta.json"}


def finishes_like(killed: SmallPool, whole: SmallPool, version: str = "m-0001") -> bool:
    """Train to the end; whether both workspaces hold the same model and nothing else."""
    killed.ok("train")
    files = {path.name for path in killed.version(version).iterdir()}
    assert files == LEFT_BEHIND
    assert killed.meta(version) == whole.meta(version)
    return same_weights(killed.weights(version), whole.weights(version))


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(SignalAtCall("torch.optim:Adam.step", 11), id="in the middle of an epoch"),
        pytest.param(SignalAtCall("dalcli.models.zoo:build"), id="right after the row was begun"),
        pytest.param(SignalAtCall("dalcli.training.loop:save_run", 1), id="before the first checkpoint"),
        pytest.param(SignalAtCall("dalcli.state.atomic:_sync_file", 3), id="while a checkpoint is being written"),
        pytest.param(SignalAtCall("dalcli.training.version:save_model"), id="before the weights were written"),
        pytest.param(SignalAtCall("dalcli.training.version:write_meta"), id="after the weights were written"),
        pytest.param(SignalAtCall("dalcli.state.versions:finish"), id="after all files were written"),
    ],
)
def test_killed_at_any_moment_it_continues_to_the_same_weights(
    labeled: SmallPool, trained: SmallPool, moment: SignalAtCall
) -> None:
    outcome = processes.run(labeled, ["train"], EveryEpoch(), moment)
    assert outcome.code == -signal.SIGKILL
    assert labeled.json("status")["model"] is None
    assert finishes_like(labeled, trained)


def test_it_continues_instead_of_starting_again(labeled: SmallPool, trained: SmallPool) -> None:
    processes.run(labeled, ["train"], EveryEpoch(), SignalAtCall("dalcli.training.loop:train_epoch", 4))
    outcome = processes.run(labeled, ["train"], SignalAtCall("dalcli.training.loop:train_epoch", 4))
    assert outcome.code == 0, "epochs 4 to 6 are three calls"
    assert "continuing m-0001" in outcome.err
    assert same_weights(labeled.weights(), trained.weights())


def test_killed_again_and_again_it_still_ends_in_the_same_weights(labeled: SmallPool, trained: SmallPool) -> None:
    for _ in range(4):
        code = processes.run(labeled, ["train"], EveryEpoch(), SignalAtCall("torch.optim:Adam.step", 8)).code
        assert code == -signal.SIGKILL
    assert finishes_like(labeled, trained)


def test_a_killed_warm_start_continues_from_its_parent(trained: SmallPool, tmp_path: Path) -> None:
    trained.label(trained.pool("unlabeled")[:4])
    whole = copied(trained, tmp_path / "whole")
    whole.ok("train")
    for moment in (SignalAtCall("torch.optim:Adam.step", 9), SignalAtCall("dalcli.training.version:write_meta")):
        assert processes.run(trained, ["train"], EveryEpoch(), moment).code == -signal.SIGKILL
    assert finishes_like(trained, whole, "m-0002")


def test_killed_after_the_row_was_finished_it_is_finished(labeled: SmallPool, trained: SmallPool) -> None:
    # The checkpoint is the only file that train removes by name.
    moment = SignalAtCall("pathlib:Path.unlink", 1)
    outcome = processes.run(labeled, ["train"], EveryEpoch(), moment)
    assert outcome.code == -signal.SIGKILL
    assert (labeled.version() / "optimizer.safetensors").exists()
    assert "up to date" in labeled.ok("train").err
    assert same_weights(labeled.weights(), trained.weights())
    labeled.label(labeled.pool("unlabeled")[:1])
    labeled.ok("train")
    assert {path.name for path in labeled.version().iterdir()} == LEFT_BEHIND


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_by_a_signal_it_says_so_and_the_next_run_goes_on(
    labeled: SmallPool, trained: SmallPool, number: int, code: int
) -> None:
    outcome = processes.run(labeled, ["train"], EveryEpoch(), SignalAtCall("torch.optim:Adam.step", 11, number))
    assert outcome.code == code
    assert "Traceback" not in outcome.err
    assert finishes_like(labeled, trained)


def test_a_full_disk_ends_it_with_the_state_intact(labeled: SmallPool, trained: SmallPool) -> None:
    full = OSError(28, "No space left on device")
    for target in ("dalcli.training.loop:save_run", "dalcli.training.version:save_model"):
        outcome = processes.run(labeled, ["train"], EveryEpoch(), FailAtCall(target, full))
        assert outcome.code == 1
        assert "No space left" in outcome.err
        assert "free some disk space" in outcome.err
        assert labeled.json("status")["model"] is None
    assert finishes_like(labeled, trained)


def test_a_resumed_run_keeps_the_recorded_number_of_threads(labeled: SmallPool, trained: SmallPool) -> None:
    processes.run(labeled, ["train"], EveryEpoch(), SignalAtCall("dalcli.training.loop:train_epoch", 4))
    labeled.configure(threads=2)
    assert finishes_like(labeled, trained)


def test_labels_that_came_meanwhile_make_it_start_again_from_the_parent(trained: SmallPool, tmp_path: Path) -> None:
    fresh = trained.pool("unlabeled")
    trained.label(fresh[:2])
    kill = SignalAtCall("dalcli.training.loop:train_epoch", 4)
    assert processes.run(trained, ["train"], EveryEpoch(), kill).code == -signal.SIGKILL
    trained.label(fresh[2:4])
    whole = copied(trained, tmp_path / "whole")
    # The other workspace never saw the killed run.
    (whole.root / ".dalcli" / "models" / "m-0002" / "optimizer.safetensors").unlink()
    outcome = trained.ok("train")
    assert "starting again" in outcome.err
    assert trained.json("train")["model"]["parent"] == "m-0001"
    assert trained.json("train")["model"]["labels"] == 18
    whole.ok("train")
    assert same_weights(trained.weights("m-0002"), whole.weights("m-0002"))


def test_a_changed_setting_makes_it_start_again(labeled: SmallPool, tmp_path: Path) -> None:
    whole = copied(labeled, tmp_path / "whole")
    kill = SignalAtCall("dalcli.training.loop:train_epoch", 4)
    assert processes.run(labeled, ["train"], EveryEpoch(), kill).code == -signal.SIGKILL
    for pool in (labeled, whole):
        pool.configure(training={"learning_rate": 0.001})
    assert "starting again" in labeled.ok("train").err
    whole.ok("train")
    assert same_weights(labeled.weights(), whole.weights())
    assert [version["version"] for version in [labeled.json("status")["model"]]] == ["m-0001"]
