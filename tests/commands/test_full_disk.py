"""A disk that is really full: a small file system that only root can mount."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import processes
from tests.small_pools import SmallPool, same_weights

MEGABYTES = 4


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    target = tmp_path / "disk"
    target.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(target)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    yield target
    subprocess.run(["umount", "--lazy", str(target)], check=True)


def fill(disk: Path, leave: int) -> Path:
    """A file that leaves ``leave`` bytes of the disk."""
    ballast = disk / "ballast"
    status = os.statvfs(disk)
    ballast.write_bytes(bytes(status.f_bavail * status.f_frsize - leave))
    return ballast


@pytest.mark.parametrize("leave", [500_000, 1_300_000])
def test_train_on_a_full_disk_fails_whole_and_goes_on_later(
    labeled: SmallPool, trained: SmallPool, small_disk: Path, leave: int
) -> None:
    # The checkpoint (1.1 MB) does not fit; or it does and the weights (0.4 MB) beside it do not.
    pool = SmallPool(small_disk / "w")
    shutil.copytree(labeled.root, pool.root)
    ballast = fill(small_disk, leave)
    outcome = processes.run(pool, ["train"], processes.EveryEpoch(), logs=small_disk.parent)
    assert outcome.code == 1, outcome
    assert "space" in outcome.err
    ballast.unlink()
    assert pool.json("status")["model"] is None
    pool.ok("train")
    assert same_weights(pool.weights(), trained.weights())


def test_score_on_a_full_disk_fails_whole_and_goes_on_later(
    trained: SmallPool, scored: SmallPool, small_disk: Path
) -> None:
    pool = SmallPool(small_disk / "w")
    shutil.copytree(trained.root, pool.root)
    ballast = fill(small_disk, 440_000)  # room for G_S, hardly any for shards
    outcome = processes.run(pool, ["score", "--full"], logs=small_disk.parent)
    assert outcome.code == 1, outcome
    assert "space" in outcome.err
    ballast.unlink()
    pool.ok("score", "--full")
    assert pool.scores().keys() == scored.scores().keys()
