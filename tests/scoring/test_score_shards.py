"""``score`` resumes by shard, scores only what is missing, and mends what was damaged."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import processes
from tests.processes import FailAtCall, HangAtCall, SignalAtCall
from tests.small_pools import SmallPool, draw

Shards = dict[str, dict[str, np.ndarray[Any, Any]]]


def same_shards(one: Shards, other: Shards) -> bool:
    """Whether the same files hold the same bytes in every column."""
    return {file: {name: array.tobytes() for name, array in columns.items()} for file, columns in one.items()} == {
        file: {name: array.tobytes() for name, array in columns.items()} for file, columns in other.items()
    }


def folder_of(pool: SmallPool) -> Path:
    return pool.root / ".dalcli" / "scores" / "m-0001"


def times_of(pool: SmallPool) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder_of(pool).iterdir()}


def test_every_readable_training_sample_is_scored_once(scored: SmallPool) -> None:
    sizes = [len(columns["digest"]) for columns in scored.shards().values()]
    assert set(sizes[:-1]) == {8}
    assert sum(sizes) == len(scored.pool())
    assert scored.scores().keys() == {row["sample_id"] for row in scored.pool()}


def test_a_second_run_prints_the_same_and_does_nothing(scored: SmallPool) -> None:
    before = times_of(scored)
    first = scored.ok("score", "--full")
    second = scored.ok("score", "--full")
    assert (first.out, first.err) == (second.out, second.err)
    assert second.err == "up to date: the pool is scored with m-0001\n"
    assert times_of(scored) == before


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(SignalAtCall("dalcli.scoring.job:write_shard", 3), id="before a shard is written"),
        pytest.param(SignalAtCall("dalcli.state.scores:add", 3), id="after a shard was written"),
        pytest.param(SignalAtCall("dalcli.state.atomic:_sync_file", 3), id="while a shard is being written"),
        pytest.param(SignalAtCall("dalcli.gradients.engine:GradientEngine.score", 6), id="in the middle of a shard"),
        pytest.param(SignalAtCall("dalcli.scoring.labeled_gradient:write_tensors"), id="before G_S is kept"),
        pytest.param(SignalAtCall("dalcli.state.scores:begin"), id="before the table is begun"),
        pytest.param(SignalAtCall("torch.nn:Conv2d.forward", 20, signal.SIGTERM), id="terminated"),
        pytest.param(SignalAtCall("torch.nn:Conv2d.forward", 20, signal.SIGINT), id="interrupted"),
    ],
)
def test_killed_at_any_moment_it_ends_in_the_same_table(
    trained: SmallPool, scored: SmallPool, moment: SignalAtCall
) -> None:
    outcome = processes.run(trained, ["score", "--full"], moment)
    assert outcome.code in {-signal.SIGKILL, 130, 143}
    trained.ok("score", "--full")
    assert same_shards(trained.shards(), scored.shards())
    assert set(times_of(trained)) == set(times_of(scored)), "no leftovers"


def test_after_a_kill_finished_shards_are_not_made_again(trained: SmallPool) -> None:
    processes.run(trained, ["score", "--full"], SignalAtCall("dalcli.state.scores:add", 3))
    before = times_of(trained)
    trained.ok("score", "--full")
    after = times_of(trained)
    for name in ("labeled_gradient.safetensors", "shard-00000.safetensors", "shard-00001.safetensors"):
        assert after[name] == before[name]


def test_a_full_disk_ends_it_with_the_state_intact(trained: SmallPool, scored: SmallPool) -> None:
    full = OSError(28, "No space left on device")
    outcome = processes.run(trained, ["score", "--full"], FailAtCall("dalcli.scoring.job:write_shard", full, 2))
    assert outcome.code == 1
    assert "free some disk space" in outcome.err
    trained.ok("score", "--full")
    assert same_shards(trained.shards(), scored.shards())


def test_new_images_are_appended_and_old_results_stay(scored: SmallPool) -> None:
    before, times, known = scored.shards(), times_of(scored), len(scored.pool())
    for index in range(5):
        draw(scored.root / "photos" / f"blue-9{index}.png", "blue", 900 + index)
    scored.ok("pool", "add", str(scored.root / "photos"))
    assert scored.json("status")["unscored"] == len(scored.pool()) - known > 0
    outcome = scored.ok("score", "--full")
    assert f"scored {len(scored.pool()) - known} samples" in outcome.err
    after = scored.shards()
    assert len(after) == len(before) + 1
    assert same_shards({name: after[name] for name in before}, before)
    assert {name: times_of(scored)[name] for name in times} == times
    assert scored.scores().keys() == {row["sample_id"] for row in scored.pool()}


def test_deleted_shards_are_made_again_and_only_those(scored: SmallPool) -> None:
    before, times = scored.shards(), times_of(scored)
    for name in ("shard-00001.safetensors", "shard-00003.safetensors"):
        (folder_of(scored) / name).unlink()
    assert scored.json("status")["unscored"] == 16
    outcome = scored.ok("score", "--full")
    assert "2 score files are missing or damaged: scoring their 16 samples again" in outcome.err
    after = scored.shards()
    new = [columns for name, columns in after.items() if name not in before]
    assert same_shards(
        dict(zip("ab", new, strict=True)),
        {"a": before["shard-00001.safetensors"], "b": before["shard-00003.safetensors"]},
    )
    kept = ("shard-00000.safetensors", "shard-00002.safetensors", "shard-00004.safetensors")
    assert all(times_of(scored)[name] == times[name] for name in kept)


def test_deleting_all_scores_loses_nothing_but_time(scored: SmallPool) -> None:
    before = scored.shards()
    shutil.rmtree(scored.root / ".dalcli" / "scores")
    scored.ok("score", "--full")
    assert same_shards(scored.shards(), before)


def flip(path: Path, offset: int) -> None:
    """Change one byte, counted from the end if negative."""
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("offset", [pytest.param(12, id="header"), pytest.param(-3, id="content")])
def test_score_mends_a_damaged_shard(scored: SmallPool, offset: int) -> None:
    before = scored.scores()
    flip(folder_of(scored) / "shard-00002.safetensors", offset)
    outcome = scored.ok("score", "--full")
    assert "shard-00002.safetensors is missing or damaged: scoring its 8 samples again" in outcome.err
    after = scored.scores()
    assert after.keys() == before.keys()
    for sample, columns in before.items():
        assert all(np.array_equal(value, after[sample][name]) for name, value in columns.items())
    assert "up to date" in scored.ok("score", "--full").err


def test_a_shard_of_another_version_is_not_taken(scored: SmallPool) -> None:
    before = scored.scores()
    scored.label(scored.pool("unlabeled")[:2])
    scored.ok("train")
    scored.ok("score", "--full")
    other = scored.root / ".dalcli" / "scores" / "m-0002"
    shutil.copy(folder_of(scored) / "shard-00000.safetensors", other / "shard-00000.safetensors")
    scored.ok("score", "--full")
    after = scored.scores("m-0002")
    assert not any(after[sample]["grad_inner"] == columns["grad_inner"] for sample, columns in before.items())


def test_a_damaged_labeled_gradient_is_made_again_with_all_that_depends_on_it(scored: SmallPool) -> None:
    before = scored.shards()
    flip(folder_of(scored) / "labeled_gradient.safetensors", -3)
    outcome = scored.ok("score", "--full")
    assert f"{len(scored.pool())} samples again" in outcome.err
    assert same_shards(scored.shards(), before)


def test_other_data_settings_make_another_table(scored: SmallPool) -> None:
    before = scored.shards()
    scored.configure(data={"resize": "pad"}, scoring={"shard_size": 100})
    assert scored.json("status")["unscored"] == len(scored.pool())
    # The model is as stale as before: it saw all labels.
    assert scored.json("score", "--full")["shards"] == 1
    assert len(before) > 1
    assert set(times_of(scored)) == {"labeled_gradient.safetensors", "shard-00000.safetensors"}


def test_a_changed_input_size_is_for_the_next_model(scored: SmallPool) -> None:
    # m-0001 sees images at the size it was trained with, whatever the configuration says now.
    before = times_of(scored)
    scored.configure(data={"image_size": 16})
    assert "up to date" in scored.ok("score", "--full").err
    assert times_of(scored) == before


def test_results_do_not_depend_on_batches_and_shards(trained: SmallPool, scored: SmallPool) -> None:
    reference = scored.scores()
    trained.configure(scoring={"batch_size": 7, "shard_size": 11})
    trained.ok("score", "--full")
    other = trained.scores()
    assert other.keys() == reference.keys()
    lengths = {sample: columns["grad_sq_norm"] ** 0.5 for sample, columns in reference.items()}
    labeled_norm = trained.json("score", "--full")["labeled_gradient_norm"]
    for sample, columns in reference.items():
        assert other[sample]["grad_sq_norm"] == pytest.approx(columns["grad_sq_norm"], rel=1e-5)
        inner_error = abs(other[sample]["grad_inner"] - columns["grad_inner"])
        assert inner_error <= 1e-5 * lengths[sample] * labeled_norm
        assert other[sample]["probabilities"] == pytest.approx(columns["probabilities"], rel=1e-5, abs=1e-7)


def test_the_batch_size_a_table_was_begun_with_stays(trained: SmallPool, scored: SmallPool) -> None:
    processes.run(trained, ["score", "--full"], SignalAtCall("dalcli.state.scores:add", 3))
    trained.configure(scoring={"batch_size": 3})
    trained.ok("score", "--full")
    assert same_shards(trained.shards(), scored.shards())


def test_a_stale_model_is_refused_unless_wanted(scored: SmallPool) -> None:
    scored.label(scored.pool("unlabeled")[:2])
    outcome = scored.run("score", "--full")
    assert outcome.code == 5
    assert "2 labels are newer than model m-0001" in outcome.err
    assert "dalcli train" in outcome.err
    assert "up to date" in scored.ok("score", "--full", "--stale-ok").err


def test_without_a_model_it_is_not_ready(labeled: SmallPool) -> None:
    outcome = labeled.run("score", "--full")
    assert outcome.code == 5
    assert "dalcli train" in outcome.err


def test_waiting_for_train_it_scores_the_model_that_train_makes(scored: SmallPool, tmp_path: Path) -> None:
    scored.label(scored.pool("unlabeled")[:2])
    training_hangs, scoring_hangs = tmp_path / "training", tmp_path / "scoring"
    training = processes.start(scored, ["train"], HangAtCall("dalcli.training.loop:train_epoch", training_hangs))
    processes.wait_until(training_hangs.exists)
    assert scored.run("score", "--full", "--stale-ok").code == 4
    # It has seen that m-0001 is the newest version, and waits for the lock while m-0002 is made.
    waiting = HangAtCall("dalcli.scoring.run:compute_lock", scoring_hangs)
    scoring = processes.start(scored, ["score", "--full", "--stale-ok", "--wait", "60"], waiting)
    processes.wait_until(scoring_hangs.exists)
    training_hangs.unlink()
    assert training.finish().code == 0
    scoring_hangs.unlink()
    outcome = scoring.finish()
    assert outcome.code == 0
    assert "m-0002" in outcome.out
