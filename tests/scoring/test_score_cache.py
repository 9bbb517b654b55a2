"""The pixel cache under real commands: fewer decodings, the same numbers, and no way to make a command fail."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from collections import namedtuple
from pathlib import Path

import pytest

from dalcli.data import file_pixels
from dalcli.workspace import image_cache
from tests import processes
from tests.processes import FailAtCall, HangAtCall, SignalAtCall
from tests.scoring.test_score_shards import same_shards
from tests.small_pools import SmallPool

Usage = namedtuple("Usage", ["total", "used", "free"])


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every file that this process decodes, in order."""
    original, paths = file_pixels.decode, []

    def counting(path: Path, **options: object) -> object:
        paths.append(path)
        return original(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(file_pixels, "decode", counting)
    return paths


def cache_of(pool: SmallPool) -> Path:
    return pool.root / ".dalcli" / "cache"


def segments(pool: SmallPool) -> list[Path]:
    return sorted(cache_of(pool).glob("*/segment-*.safetensors"))


def forget_scores(pool: SmallPool) -> None:
    shutil.rmtree(pool.root / ".dalcli" / "scores")


def test_every_image_is_decoded_once_and_a_second_version_decodes_none(
    labeled: SmallPool, decoded: list[Path], scored: SmallPool
) -> None:
    labeled.ok("train")
    labeled.ok("score", "--full")
    assert sorted(decoded) == sorted(labeled.path(row) for row in labeled.pool())
    assert same_shards(labeled.shards(), scored.shards())
    decoded.clear()
    labeled.label(labeled.pool("unlabeled")[:2])
    labeled.ok("train")
    labeled.ok("score", "--full")
    assert len(labeled.scores("m-0002")) == len(labeled.pool())
    assert decoded == []


def test_evaluation_reads_the_cache_too(trained: SmallPool, decoded: list[Path]) -> None:
    rows = trained.pool(purpose="evaluation")
    trained.label(rows)
    first = trained.json("evaluate")
    assert len(decoded) == len(rows)
    trained.configure(evaluation={"calibration_bins": 7})
    second = trained.json("evaluate")
    assert len(decoded) == len(rows)
    assert second["report"]["nll"] == first["report"]["nll"]


def test_turned_off_it_leaves_no_file_and_changes_no_number(
    trained: SmallPool, scored: SmallPool, decoded: list[Path]
) -> None:
    shutil.rmtree(cache_of(trained))
    trained.configure(data={"cache": False})
    trained.ok("score", "--full")
    assert not cache_of(trained).exists()
    assert len(decoded) == len(trained.pool()) + 14, "the labeled ones once more, for G_S"
    assert same_shards(trained.shards(), scored.shards())


def test_other_pixels_have_another_cache(scored: SmallPool, decoded: list[Path]) -> None:
    for data in ({"resize": "pad"}, {"alpha_background": [1, 2, 3]}):
        decoded.clear()
        scored.configure(data=data)
        scored.ok("score", "--full")
        assert len(decoded) == len(scored.pool())
    assert len(list(cache_of(scored).iterdir())) == 3


@pytest.mark.parametrize("damage", ["flip", "cut", "delete a file", "delete all"])
def test_a_damaged_or_deleted_cache_costs_only_time(scored: SmallPool, decoded: list[Path], damage: str) -> None:
    expected = scored.shards()
    forget_scores(scored)
    victim = max(segments(scored), key=lambda path: path.stat().st_size)
    if damage == "flip":
        data = bytearray(victim.read_bytes())
        data[-100] ^= 1
        victim.write_bytes(data)
    elif damage == "cut":
        victim.write_bytes(victim.read_bytes()[:-100])
    elif damage == "delete a file":
        victim.unlink()
    else:
        shutil.rmtree(cache_of(scored))
    scored.ok("score", "--full")
    assert decoded
    assert same_shards(scored.shards(), expected)
    decoded.clear()
    forget_scores(scored)
    scored.ok("score", "--full")
    assert decoded == []
    assert same_shards(scored.shards(), expected)


def test_it_may_be_deleted_while_scoring_reads_from_it(trained: SmallPool, scored: SmallPool, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    running = processes.start(trained, ["score", "--full"], HangAtCall("dalcli.scoring.job:write_shard", marker, 2))
    processes.wait_until(marker.exists)
    shutil.rmtree(cache_of(trained))
    marker.unlink()
    assert running.finish().code == 0
    assert same_shards(trained.shards(), scored.shards())


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.ENOENT])
def test_a_cache_that_cannot_be_written_does_not_stop_anything(
    trained: SmallPool, scored: SmallPool, number: int
) -> None:
    shutil.rmtree(cache_of(trained))
    error = OSError(number, os.strerror(number))
    outcome = processes.run(trained, ["score", "--full"], FailAtCall("dalcli.data.row_cache:write_segment", error))
    assert outcome.code == 0
    said = f"pixels are not cached: {os.strerror(number)}" in outcome.err
    assert said == (number != errno.ENOENT), "a folder that was just deleted is no problem"
    assert same_shards(trained.shards(), scored.shards())


def test_without_room_on_the_disk_nothing_is_added(
    trained: SmallPool, scored: SmallPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = segments(trained)
    nearly_full = Usage(10**9, 10**9, image_cache.SPARED_BYTES + 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: nearly_full)
    outcome = trained.ok("score", "--full")
    assert "the disk has no room" in outcome.err
    assert segments(trained) == before
    assert same_shards(trained.shards(), scored.shards())


def test_its_size_is_said_before_it_is_built_and_only_then(trained: SmallPool, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "caching" not in trained.ok("score", "--full").err, "not worth a line"
    monkeypatch.setattr(image_cache, "ANNOUNCED_BYTES", 1000)
    shutil.rmtree(cache_of(trained))
    forget_scores(trained)
    said = trained.ok("score", "--full").err
    # 8·8·3 bytes of pixels, a digest and a checksum each; the labeled ones, which G_S reads first, are among them.
    size = len(trained.pool()) * (192 + 20)
    assert said.count("caching pixels") == 1
    assert f"caching pixels: {size / 1024:.3g} KiB" in said
    forget_scores(trained)
    assert "caching" not in trained.ok("score", "--full").err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_was_decoded_before_an_interruption_is_kept(trained: SmallPool, number: int, decoded: list[Path]) -> None:
    trained.configure(scoring={"batch_size": 1})
    stop = SignalAtCall("dalcli.state.scores:add", 4, number)
    assert processes.run(trained, ["score", "--full"], stop).code in {130, 143}
    forget_scores(trained)
    trained.ok("score", "--full")
    # 32 images were scored; 14 of all were cached by training.
    assert len(decoded) <= len(trained.pool()) - 32


def test_what_a_killed_writer_left_is_removed_once_it_is_old(trained: SmallPool) -> None:
    folder = segments(trained)[0].parent
    old, fresh = (folder / f".segment-{name}.safetensors.0.tmp" for name in ("old", "fresh"))
    for path in (old, fresh):
        path.write_bytes(b"half")
    os.utime(old, (1, 1))
    trained.ok("score", "--full")
    assert (old.exists(), fresh.exists()) == (False, True)


def test_several_commands_share_one_cache(scored: SmallPool, tmp_path: Path, decoded: list[Path]) -> None:
    scored.label(scored.pool(purpose="evaluation"))
    shutil.rmtree(cache_of(scored))
    forget_scores(scored)
    running = [processes.start(scored, [command], logs=tmp_path) for command in ("score", "evaluate")]
    assert [one.finish().code for one in running] == [0, 0]
    forget_scores(scored)
    scored.ok("score", "--full")
    assert decoded == []


def test_a_file_that_changed_is_noticed_although_its_pixels_are_cached(scored: SmallPool) -> None:
    forget_scores(scored)
    rows = scored.pool("unlabeled")
    scored.path(rows[0]).unlink()
    scored.path(rows[1]).write_bytes(b"something else")
    assert "warning: 2 images can no longer be read" in scored.ok("score", "--full").err
    assert len(scored.scores()) == len(scored.pool()) - 2
