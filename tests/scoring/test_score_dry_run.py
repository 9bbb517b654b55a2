"""``score --dry-run`` foretells what ``score`` does, and leaves no trace."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from workspaces import dump

from tests.small_pools import SmallPool

KEYS = [
    "version", "samples", "micro_batch", "seconds", "samples_per_second", "memory", "device_memory", "score_bytes",
    "cache_bytes",
]  # fmt: skip


def trace(pool: SmallPool) -> tuple[list[str], dict[Path, tuple[int, int]]]:
    """Every row of the database, and every other file with its size and time."""
    files = {
        path: (path.stat().st_size, path.stat().st_mtime_ns)
        for path in pool.root.rglob("*")
        if path.is_file() and not path.name.startswith("state.db")
    }
    return dump(pool.root), files


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.safetensors"))


def foretold(pool: SmallPool) -> dict[str, Any]:
    before = trace(pool)
    estimate = pool.json("score", "--full", "--dry-run")
    assert trace(pool) == before
    assert list(estimate) == KEYS
    return estimate


def test_it_foretells_samples_and_disk_space(trained: SmallPool) -> None:
    state = trained.root / ".dalcli"
    shutil.rmtree(state / "cache")
    estimate = foretold(trained)
    trained.ok("score", "--full")
    headers = 500 * (2 + len(trained.shards()))  # bytes
    assert estimate["samples"] == len(trained.pool())
    assert estimate["micro_batch"] == 4
    assert 0 <= size_of(state / "scores") - estimate["score_bytes"] < 3 * headers
    assert 0 <= size_of(state / "cache") - estimate["cache_bytes"] < headers
    assert 0 < estimate["seconds"] < 60
    assert estimate["memory"] > 50e6
    assert estimate["device_memory"] is None


def test_of_a_pool_scored_in_part_it_counts_the_rest(scored: SmallPool) -> None:
    (scored.root / ".dalcli" / "scores" / "m-0001" / "shard-00001.safetensors").unlink()
    damaged = scored.root / ".dalcli" / "scores" / "m-0001" / "shard-00002.safetensors"
    data = bytearray(damaged.read_bytes())
    data[-3] ^= 1
    damaged.write_bytes(data)
    scored.configure(scoring={"batch_size": 3})
    estimate = foretold(scored)
    assert (estimate["samples"], estimate["cache_bytes"]) == (16, 0)
    assert estimate["micro_batch"] == 4, "as recorded when the table was begun"


def test_lost_images_are_not_set_aside(trained: SmallPool) -> None:
    rows = trained.pool("unlabeled")
    trained.path(rows[0]).unlink()
    broken = trained.path(rows[1])
    broken.write_bytes(bytes(broken.stat().st_size))
    trained.path(rows[2]).touch()
    assert foretold(trained)["samples"] == len(trained.pool()) - 2
    assert not trained.pool("quarantined")


def test_without_a_cache_it_takes_no_space(trained: SmallPool) -> None:
    trained.configure(data={"cache": False})
    assert foretold(trained)["cache_bytes"] == 0


def test_when_everything_is_scored_it_says_so(scored: SmallPool) -> None:
    outcome = scored.ok("score", "--full", "--dry-run")
    assert "up to date" in outcome.err
    estimate = foretold(scored)
    assert (estimate["samples"], estimate["seconds"], estimate["score_bytes"]) == (0, 0, 0)


def test_for_people(trained: SmallPool) -> None:
    out = trained.ok("score", "--full", "--dry-run").out
    for word in ("samples to score", "time", "memory", "disk for scores", "disk for the cache"):
        assert word in out


@pytest.mark.parametrize("stage", ["labeled", "stale"])
def test_exit_codes_are_those_of_score(labeled: SmallPool, trained: SmallPool, stage: str) -> None:
    pool = labeled if stage == "labeled" else trained
    if stage == "stale":
        pool.label(pool.pool("unlabeled")[:1])
        assert pool.run("score", "--full", "--dry-run", "--stale-ok").code == 0
    dry, real = pool.run("score", "--full", "--dry-run"), pool.run("score", "--full")
    assert dry.code == real.code == 5
    assert dry.err == real.err
