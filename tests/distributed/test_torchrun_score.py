"""``torchrun -m dalcli score``: what one process makes, by two, whichever of them is killed."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from tests.compute.small_pools import SmallPool, copied
from tests.distributed.torchruns import SHARD, kill, make_trained_pool, run

SHARDS = 11


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def _trained(tmp_path_factory: pytest.TempPathFactory) -> SmallPool:
    return make_trained_pool(tmp_path_factory.mktemp("trained") / "w")


@pytest.fixture(scope="module")
def alone(_trained: SmallPool, tmp_path_factory: pytest.TempPathFactory) -> SmallPool:
    """What a single process made of the same pool."""
    pool = copied(_trained, tmp_path_factory.mktemp("alone") / "w")
    pool.ok("score")
    assert len(pool.shards()) == SHARDS
    return pool


@pytest.fixture
def trained(_trained: SmallPool, tmp_path: Path) -> SmallPool:
    return copied(_trained, tmp_path / "w")


def table(pool: SmallPool) -> Path:
    return pool.root / ".dalcli" / "scores" / "m-0001"


def assert_same_table(found: SmallPool, expected: SmallPool) -> None:
    """Everything is the same but what depends on G_S, which may differ by the order of its sum in float64."""
    assert {path.name for path in table(found).iterdir()} == {path.name for path in table(expected).iterdir()}
    gradients = [load_file(table(pool) / "labeled_gradient.safetensors") for pool in (found, expected)]
    for name, value in gradients[1].items():
        np.testing.assert_allclose(gradients[0][name], value, rtol=2e-7, atol=1e-12)
    norm = sum(float(np.square(value, dtype=np.float64).sum()) for value in gradients[1].values()) ** 0.5
    shards = found.shards()
    for file, columns in expected.shards().items():
        assert shards[file].keys() == columns.keys()
        for name, value in columns.items():
            if name == "grad_inner":
                scale = norm * np.sqrt(columns["grad_sq_norm"])
                assert (np.abs(shards[file][name] - value) <= 1e-6 * scale).all()
            else:
                assert shards[file][name].tobytes() == value.tobytes(), (file, name)


def test_two_processes_make_the_table_of_one(trained: SmallPool, alone: SmallPool) -> None:
    shutil.rmtree(trained.root / ".dalcli" / "cache")
    first = run(trained, "score")
    assert first.code == 0, first.err
    assert "scored 66 samples in " in first.err
    assert " s in 2 processes: " in first.err
    assert_same_table(trained, alone)
    # Printed once, and the same as by a single process.
    assert first.out == alone.ok("score").out
    again = run(trained, "score")
    assert (again.code, again.out) == (0, first.out)
    assert again.err == "up to date: the pool is scored with m-0001\n"
    # Both processes remembered what they decoded.
    for image in (trained.root / "photos").iterdir():
        image.write_bytes(image.read_bytes()[:20].ljust(image.stat().st_size))
    # TODO


@pytest.mark.parametrize("victim", [0, 1])
def test_torchrun_restarts_after_a_kill_and_the_table_is_complete(
    trained: SmallPool, alone: SmallPool, victim: int
) -> None:
    kill(trained, victim, after=3)
    ended = run(trained, "score", restarts=1)
    assert ended.code == 0, ended.err
    assert not (trained.root / "kill").exists(), "it was killed"
    assert_same_table(trained, alone)
    assert ended.out == alone.ok("score").out
    # What was recorded before the kill was not made again.
    made = 2 if victim else 2
    assert f"scored {66 - made * SHARD} samples in " in ended.err


def test_without_restarts_what_is_complete_stays_and_a_single_process_goes_on(
    trained: SmallPool, alone: SmallPool
) -> None:
    kill(trained, 1, after=4)
    ended = run(trained, "score")
    assert ended.code != 0
    assert ended.out == ""
    assert not (trained.root / "kill").exists()
    kept = trained.json("status")
    outcome = trained.ok("score")
    assert_same_table(trained, alone)


def test_other_commands_are_refused(trained: SmallPool) -> None:
    ended = run(trained, "query", "--budget", "3")
    assert ended.code != 0
    assert ended.out == ""
    assert ended.errors == ["torchrun started 2 processes, and only train and score share their work"]
    assert "run it without torchrun: dalcli query\n" in ended.err
    assert trained.json("status")["in_flight"] == 0
