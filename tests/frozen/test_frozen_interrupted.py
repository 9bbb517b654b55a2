"""Whatever ends a command on a frozen network, nothing is half done, and what was looked at is kept."""

from __future__ import annotations

import errno
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from dalcli.querying import cold_start
from dalcli.workspace import image_cache, images, network_features
from tests import processes
from tests.frozen_pools import make_frozen_pool
from tests.processes import FailAtCall, SignalAtCall
from tests.small_pools import SmallPool, copied, same_weights

LABELED = 12
LOOKED_AT = "dalcli.workspace.network_features:NetworkFeatures._features"


@dataclass(frozen=True)
class SmallPieces:
    """The network looks at 4 images at once, and 4 are kept together."""

    def apply(self) -> None:
        network_features.PROCESSOR_BATCH = 4
        image_cache.FEATURE_ROWS = 4
        images.FEATURES_AT_ONCE = 4
        cold_start.FEATURES_AT_ONCE = 4


@pytest.fixture(scope="module")
def _labeled(tmp_path_factory: pytest.TempPathFactory) -> SmallPool:
    pool = make_frozen_pool(tmp_path_factory.mktemp("frozen") / "w", scoring={"batch_size": 8, "shard_size": 16})
    pool.label(pool.pool()[:LABELED])
    return pool


@pytest.fixture(scope="module")
def _scored(_labeled: SmallPool, tmp_path_factory: pytest.TempPathFactory) -> SmallPool:
    pool = copied(_labeled, tmp_path_factory.mktemp("scored") / "w")
    pool.ok("train")
    pool.ok("score")
    return pool


def kept(pool: SmallPool) -> int:
    """Segments of features."""
    return len(list((pool.root / ".dalcli" / "cache").glob("features-*/segment-*")))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_query_that_ends_while_it_looks_goes_on_from_there(
    _labeled: SmallPool, tmp_path: Path, how: signal.Signals
) -> None:
    pool, other = copied(_labeled, tmp_path / "one"), copied(_labeled, tmp_path / "other")
    expected = other.ok("query", "--budget", "5").out
    for each in (pool, other):
        shutil.rmtree(each.root / ".dalcli" / "cache", ignore_errors=True)
    other.ok("batch", "release", "b-0001")
    outcome = processes.run(pool, ["query", "--budget", "5"], SmallPieces(), SignalAtCall(LOOKED_AT, 6, how))
    assert outcome.code in {-signal.SIGKILL, 130, 143}
    assert kept(pool) >= 4
    assert pool.ok("query", "--budget", "5").out == expected
    assert pool.ok("batch", "list").out.count("b-0001") == 1


@dataclass(frozen=True)
class SmallBatches:
    """The network looks at 4 images at once, of many that are asked for, and many are kept together."""

    def apply(self) -> None:
        network_features.PROCESSOR_BATCH = 4


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_slow_network_gets_on_however_often_it_is_interrupted(
    _labeled: SmallPool, tmp_path: Path, how: signal.Signals
) -> None:
    """All images are asked for at once: what the network has seen when it is told to stop is kept all the same."""
    pool = copied(_labeled, tmp_path / "one")
    shutil.rmtree(pool.root / ".dalcli" / "cache", ignore_errors=True)
    outcome = processes.run(pool, ["query", "--budget", "5"], SmallBatches(), SignalAtCall(LOOKED_AT, 4, how))
    assert outcome.code in {130, 143}
    (segment,) = (pool.root / ".dalcli" / "cache").glob("features-*/segment-*")
    first = {len(tensor) for tensor in load_file(segment).values()}
    assert min(first) >= 12
    assert (
        pool.ok("query", "--budget", "5").out == copied(_labeled, tmp_path / "other").ok("query", "--budget", "5").out
    )


@pytest.mark.parametrize(
    "place",
    [
        "dalcli.training.head:_penalty",
        "dalcli.training.version:save_model",
        "dalcli.training.version:write_meta",
        "dalcli.state.versions:finish",
    ],
)
def test_a_killed_train_has_done_nothing_or_all(
    _labeled: SmallPool, _scored: SmallPool, tmp_path: Path, place: str
) -> None:
    pool = copied(_labeled, tmp_path / "w")
    assert processes.run(pool, ["train"], SignalAtCall(place)).code == -signal.SIGKILL
    assert pool.json("status")["model"] is None
    pool.ok("train")
    assert same_weights(pool.weights(), _scored.weights())
    assert pool.json("status")["model"]["version"] == "m-0001"


def test_a_killed_adoption_is_done_again(_labeled: SmallPool, tmp_path: Path) -> None:
    pool = copied(_labeled, tmp_path / "w")
    shutil.rmtree(pool.root / ".dalcli" / "networks")
    text = (pool.root / "dalcli.yaml").read_text().replace("tiny.safetensors", "./tiny.safetensors")
    (pool.root / "dalcli.yaml").write_text(text)  # asked for anew
    patch = SignalAtCall("dalcli.workspace.network:remember")
    assert processes.run(pool, ["train"], patch).code == -signal.SIGKILL
    pool.ok("train")
    assert len(list((pool.root / ".dalcli" / "networks").glob("*.safetensors"))) == 1


def test_a_full_disk_is_said_and_nothing_is_lost(_labeled: SmallPool, tmp_path: Path) -> None:
    pool = copied(_labeled, tmp_path / "w")
    pool.ok("train")
    shutil.rmtree(pool.root / ".dalcli" / "cache")
    error = OSError(errno.ENOSPC, "No space left on device")
    outcome = processes.run(pool, ["score"], SmallPieces(), FailAtCall("dalcli.data.row_cache:write_segment", error))
    assert outcome.code == 1
    assert "features of" in outcome.err
    assert "No space left on device" in outcome.err
    assert "make room" in outcome.err
    pool.ok("score")
    pool.ok("query", "--budget", "3")


def test_without_a_cache_training_and_measuring_still_work(
    _scored: SmallPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = copied(_scored, tmp_path / "w")
    pool.label(pool.pool("unlabeled")[:2])
    pool.label(pool.pool("unlabeled", "evaluation"))
    shutil.rmtree(pool.root / ".dalcli" / "cache")
    monkeypatch.setattr(image_cache, "has_room", lambda *_: False)
    outcome = pool.ok("train")
    assert "features are not cached" in outcome.err
    pool.ok("evaluate")


def test_a_damaged_network_is_named(_scored: SmallPool, tmp_path: Path) -> None:
    pool = copied(_scored, tmp_path / "w")
    shutil.rmtree(pool.root / ".dalcli" / "cache")
    (file,) = (pool.root / ".dalcli" / "networks").iterdir()
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    outcome = pool.run("score")
    assert outcome.code == 1
    assert file.name in outcome.err
    assert "Traceback" not in outcome.err
