"""Several processes share the work on a frozen network, and a dry run foretells it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from tests import torchruns
from tests.frozen_pools import make_frozen_pool
from tests.small_pools import copied, same_weights


def test_two_processes_make_the_features_together(tmp_path: Path) -> None:
    pool = make_frozen_pool(tmp_path / "w", scoring={"shard_size": 8, "batch_size": 8})
    pool.label(pool.pool()[:12])
    alone = copied(pool, tmp_path / "alone")
    ended = torchruns.run(pool, "train")
    assert ended.code == 0, ended.err
    alone.ok("train")
    assert same_weights(pool.weights(), alone.weights())
    shutil.rmtree(pool.root / ".dalcli" / "cache")
    ended = torchruns.run(pool, "score", "--full")
    assert ended.code == 0, ended.err
    (folder,) = (pool.root / ".dalcli" / "cache").glob("features-*")
    assert len(list(folder.glob("segment-*"))) >= 2  # each process wrote what it had made
    alone.ok("score", "--full")
    theirs, expected = pool.scores(), alone.scores()
    assert theirs.keys() == expected.keys()
    for sample, columns in expected.items():
        for name, value in columns.items():
            np.testing.assert_allclose(theirs[sample][name], value, rtol=1e-5, atol=1e-7)
    command = ("query", "--budget", "4", "--strategy", "coreset")
    assert pool.ok(*command).out == alone.ok(*command).out


def test_a_dry_run_changes_nothing_and_counts_the_features(tmp_path: Path) -> None:
    pool = make_frozen_pool(tmp_path / "w")
    pool.label(pool.pool()[:12])
    pool.ok("train")
    shutil.rmtree(pool.root / ".dalcli" / "cache")
    found = pool.json("score", "--dry-run")
    assert found["samples"] == len(pool.pool())
    assert found["cache_bytes"] == len(pool.pool()) * (24 * 4 + 20)
    assert not (pool.root / ".dalcli" / "cache").exists()
    pool.ok("score")
    assert pool.json("score", "--dry-run")["samples"] == 0
