"""Images that vanish, change or break: one is set aside, many are a disk that is not there."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dalcli.data.identity import sample_id
from dalcli.training import loop, version
from dalcli.workspace import image_files, images
from tests import processes
from tests.processes import EveryEpoch, HangAtCall, SignalAtCall
from tests.small_pools import SmallPool, copied, draw, same_weights


def delete(path: Path) -> None:
    path.unlink()


def edit(path: Path) -> None:
    draw(path, "green", 77)


def damage(path: Path) -> None:
    """Break the bytes in a way that size and time do not show: decoding finds it, if the pixels are not cached."""
    status = path.stat()
    path.write_bytes(path.read_bytes()[:60].ljust(status.st_size, b"\0"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


ACCIDENTS = [
    pytest.param(delete, "missing", id="deleted"),
    pytest.param(edit, "changed", id="edited in place"),
    pytest.param(damage, "", id="damaged"),
]
Accident = Callable[[Path], None]


@pytest.mark.parametrize(("accident", "reason"), ACCIDENTS)
def test_training_goes_on_without_a_lost_image(
    labeled: SmallPool, tmp_path: Path, accident: Accident, reason: str
) -> None:
    rows = labeled.pool("labeled")
    fewer = copied(labeled, tmp_path / "fewer")
    accident(labeled.path(rows[3]))
    outcome = labeled.ok("train")
    assert "warning: 1 image can no longer be read" in outcome.err
    assert [row["sample_id"] for row in labeled.pool("quarantined")] == [rows[3]["sample_id"]]
    assert reason in labeled.ok("pool", "quarantine").out
    assert labeled.json("status")["model"]["labels"] == 13
    assert "up to date" in labeled.ok("train").err
    # The same as if that sample had never been labeled, but for one label that was withdrawn.
    file = fewer.root / "skip.csv"
    file.write_text(f"sample_id,label,skipped\n{rows[3]['sample_id']},,1\n")
    fewer.ok("ingest-labels", str(file), "--on-conflict", "replace")
    fewer.ok("train")
    assert same_weights(labeled.weights(), fewer.weights())


@pytest.mark.parametrize(("accident", "reason"), ACCIDENTS)
def test_scoring_goes_on_without_a_lost_image(
    trained: SmallPool, scored: SmallPool, accident: Accident, reason: str
) -> None:
    row = trained.pool("unlabeled")[4]
    accident(trained.path(row))
    outcome = trained.ok("score", "--full")
    assert "warning: 1 image can no longer be read" in outcome.err
    assert reason in trained.ok("pool", "quarantine").out
    with_it, without = scored.scores(), trained.scores()
    assert with_it.keys() - without.keys() == {row["sample_id"]}
    assert without.keys() < with_it.keys()
    assert "up to date" in trained.ok("score", "--full").err


@pytest.mark.parametrize(("accident", "reason"), ACCIDENTS)
def test_a_lost_labeled_image_leaves_the_labeled_gradient_of_the_others(
    trained: SmallPool, accident: Accident, reason: str
) -> None:
    trained.configure(data={"cache": False})
    accident(trained.path(trained.pool("labeled")[0]))
    result = trained.json("score", "--full")
    assert result["labeled"] == 13
    assert "up to date" in trained.ok("score", "--full").err


def test_labeled_images_that_go_while_they_are_summed_are_in_no_sum(trained: SmallPool, tmp_path: Path) -> None:
    trained.configure(data={"cache": False}, scoring={"batch_size": 1})
    marker, rows = tmp_path / "marker", trained.pool("labeled")
    at_the_third = HangAtCall("dalcli.scoring.scorer:Scorer.inputs", marker, 3)
    running = processes.start(trained, ["score", "--full", "--json"], at_the_third)
    processes.wait_until(marker.exists)
    for row in (rows[0], rows[-1]):  # one that was summed, and one that will be found missing
        trained.path(row).unlink()
    marker.unlink()
    outcome = running.finish()
    assert outcome.err.count("2 images can no longer be read") == 1
    found = json.loads(outcome.out)
    assert found["labeled"] == len(rows) - 2
    (trained.root / ".dalcli/scores/m-0001/labeled_gradient.safetensors").unlink()
    assert trained.json("score", "--full")["labeled_gradient_norm"] == found["labeled_gradient_norm"]


@pytest.mark.parametrize(("accident", "reason"), ACCIDENTS)
def test_evaluation_goes_on_without_a_lost_image(trained: SmallPool, accident: Accident, reason: str) -> None:
    rows = trained.pool(purpose="evaluation")
    trained.label(rows)
    accident(trained.path(rows[2]))
    first = trained.ok("evaluate")
    assert "warning: 1 image can no longer be read" in first.err
    assert trained.json("evaluate")["report"]["examples"] == len(rows) - 1
    second = trained.ok("evaluate")
    assert second.out == first.out
    assert "up to date" in second.err


def test_an_image_that_goes_while_pixels_are_measured_is_set_aside(
    labeled: SmallPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = labeled.pool("labeled")[3]
    measure = version.measure

    def measured(*arguments: Any) -> Any:
        labeled.path(lost).unlink(missing_ok=True)
        return measure(*arguments)

    labeled.configure(data={"cache": False})
    monkeypatch.setattr(images, "KEPT_BYTES", 0)
    monkeypatch.setattr(version, "measure", measured)
    assert "1 image can no longer be read" in labeled.ok("train").err
    assert [row["sample_id"] for row in labeled.pool("quarantined")] == [lost["sample_id"]]
    assert labeled.json("status")["model"]["labels"] == 13


def test_a_single_new_image_that_is_gone_again_stops_nothing(scored: SmallPool) -> None:
    draw(scored.root / "photos" / "new.png", "green", 123)
    scored.ok("pool", "add", str(scored.root / "photos"))
    (scored.root / "photos" / "new.png").unlink()
    outcome = scored.ok("query", "--budget", "2")
    assert "1 image can no longer be read" in outcome.err
    assert len(outcome.out.splitlines()) == 3
    assert [row["path"] for row in scored.pool("quarantined")] == ["photos/new.png"]


def test_a_touched_file_is_still_itself_and_hashed_only_once(
    trained: SmallPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[Path] = []

    def counted(path: Path) -> str:
        hashed.append(path)
        return sample_id(path)

    monkeypatch.setattr(image_files, "sample_id", counted)
    path = trained.path(trained.pool("labeled")[0])
    os.utime(path, (1, 1))
    for _ in range(2):
        trained.label(trained.pool("unlabeled")[:1])
        assert "can no longer be read" not in trained.ok("train").err
    assert hashed == [path]
    assert not trained.pool("quarantined")


def test_another_copy_of_the_same_bytes_will_do(trained: SmallPool) -> None:
    path = trained.path(trained.pool("labeled")[0])
    shutil.copy2(path, path.with_name("copy.png"))
    trained.ok("pool", "add", str(path.parent))
    path.unlink()
    trained.label(trained.pool("unlabeled")[:1])
    trained.ok("train")
    assert trained.json("status")["model"]["labels"] == 15
    assert not trained.pool("quarantined")


@pytest.mark.parametrize("command", ["train", "score", "evaluate"])
def test_a_missing_disk_stops_everything_and_changes_nothing(trained: SmallPool, command: str) -> None:
    trained.label(trained.pool(purpose="evaluation"))
    trained.label(trained.pool("unlabeled")[:1])
    photos = trained.root / "photos"
    photos.rename(trained.root / "unmounted")
    outcome = trained.run(command, *(["--stale-ok"] if command == "score" else []))
    assert outcome.code == 1
    assert "nothing was changed" in outcome.err
    assert "pool relocate" in outcome.err
    assert not trained.pool("quarantined")
    (trained.root / "unmounted").rename(photos)
    assert "can no longer be read" not in trained.ok(command, *(["--stale-ok"] if command == "score" else [])).err


def test_a_disk_that_goes_while_scoring_sets_nothing_aside(trained: SmallPool, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    trained.configure(scoring={"batch_size": 1, "shard_size": 3})
    running = processes.start(trained, ["score", "--full"], HangAtCall("dalcli.scoring.job:write_shard", marker, 3))
    processes.wait_until(marker.exists)
    photos = trained.root / "photos"
    photos.rename(trained.root / "unmounted")
    marker.unlink()
    outcome = running.finish()
    assert outcome.code == 1
    assert "nothing was changed" in outcome.err
    assert not trained.pool("quarantined")
    (trained.root / "unmounted").rename(photos)
    trained.ok("score", "--full")
    assert len(trained.scores()) == len(trained.pool())


def test_an_image_lost_while_training_is_set_aside_and_training_starts_over(
    labeled: SmallPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without a cache, sets too large to be kept decoded are read in every epoch.
    labeled.configure(data={"cache": False})
    monkeypatch.setattr(images, "KEPT_BYTES", 0)
    victim = labeled.path(labeled.pool("labeled")[5])
    original, calls = loop.train_epoch, []

    def train_epoch(*args: object) -> float:
        calls.append(1)
        if len(calls) == 3:
            victim.unlink()
        return original(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "train_epoch", train_epoch)
    outcome = labeled.ok("train")
    assert "warning: 1 image can no longer be read" in outcome.err
    assert labeled.json("status")["model"]["labels"] == 13
    assert labeled.meta()["labels"] == 13


def test_new_labels_whose_images_are_all_lost_do_not_make_a_new_version(trained: SmallPool) -> None:
    row = trained.pool("unlabeled")[0]
    trained.label([row])
    damage(trained.path(row))
    outcome = trained.ok("train")
    assert "can no longer be read" in outcome.err
    assert "up to date" in outcome.err
    assert trained.json("status")["model"]["version"] == "m-0001"


def test_an_image_lost_after_a_kill_makes_training_start_again_without_it(labeled: SmallPool) -> None:
    labeled.configure(data={"cache": False})
    kill = SignalAtCall("dalcli.training.loop:train_epoch", 4)
    assert processes.run(labeled, ["train"], EveryEpoch(), kill).code == -signal.SIGKILL
    damage(labeled.path(labeled.pool("labeled")[2]))
    assert "starting again" in labeled.ok("train").err
    assert labeled.json("status")["model"]["labels"] == labeled.meta()["labels"] == 13
