"""Processes that score together: their shards, and images and disks that fail some of them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import dalcli
from dalcli.data.file_pixels import FilePixels
from dalcli.data.pixels import Failure, IntArray, UInt8Array, UnreadableImagesError
from dalcli.errors import ExitCode
from dalcli.feedback import SilentFeedback
from dalcli.runtime.ranks import Ranks
from dalcli.scoring import run as scoring
from dalcli.scoring.run import ScoreRequest, score, serve
from dalcli.workspace.session import open_session
from tests.processes import DeleteAtCall, FailAtCall, Patch
from tests.rank_groups import Agent, agent
from tests.score_tables import assert_same_table
from tests.small_pools import SmallPool, copied
from tests.torchruns import make_trained_pool, settings


@pytest.fixture(scope="module")
def _trained(tmp_path_factory: pytest.TempPathFactory) -> SmallPool:
    return make_trained_pool(tmp_path_factory.mktemp("trained") / "w", cache=False)


@pytest.fixture
def trained(_trained: SmallPool, tmp_path: Path) -> SmallPool:
    return copied(_trained, tmp_path / "w")


@pytest.fixture
def alone(_trained: SmallPool, tmp_path: Path) -> SmallPool:
    return copied(_trained, tmp_path / "alone")


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Agent]:
    with agent(tmp_path / "agent") as started:
        yield started


class Said(SilentFeedback):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, message: str) -> None:
        self.lines.append(message)

    warn = note


def scored(ranks: Ranks, root: Path, patches: dict[int, Patch]) -> list[str]:
    """``score`` on every rank, with a change of the program on some; what was said."""
    if ranks.rank in patches:
        patches[ranks.rank].apply()
    if not ranks.main:
        serve(root, ranks)
        return []
    said = Said()
    with open_session(root, said) as session:
        score(session, ScoreRequest(full=True), ranks)
    return said.lines


def run(group: Agent, size: int, pool: SmallPool, **patches: Patch) -> list[Any]:
    return group.run(size, scored, pool.root, {int(name.removeprefix("rank")): p for name, p in patches.items()})


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:50].ljust(path.stat().st_size, b"\0"))


@pytest.mark.parametrize("size", [2, 3, 5])
def test_any_number_of_processes_makes_the_same_table(
    group: Agent, trained: SmallPool, alone: SmallPool, size: int
) -> None:
    said, *others = run(group, size, trained)
    assert "scored 66 samples in " in said[-1]
    assert f" in {size} processes: " in said[-1]
    assert others == [[]] * (size - 1)
    alone.ok("score", "--full")
    assert_same_table(trained, alone)
    again = run(group, size, trained)
    assert again == [["up to date: the pool is scored with m-0001"], *others]


# Of the first wave of two shards (12 samples), the last of the second shard; then some further on, and of the labeled.
@pytest.mark.parametrize("places", [[11], [2, 11, 30], [12, 13, 14, 15, 16, 17, 65]])
def test_unreadable_images_found_on_the_way_change_the_table_as_for_one_process(
    group: Agent, trained: SmallPool, alone: SmallPool, places: list[int]
) -> None:
    for pool in (trained, alone):
        rows = pool.pool()
        for place in places:
            status = pool.path(rows[place]).stat()
            damage(pool.path(rows[place]))
            os.utime(pool.path(rows[place]), ns=(status.st_atime_ns, status.st_mtime_ns))
    said, _ = run(group, 2, trained)
    assert any("can no longer be read: see `dalcli pool quarantine`" in line for line in said)
    alone.ok("score", "--full")
    assert_same_table(trained, alone)
    assert len(trained.scores()) == 66 - len(places)
    assert [row["sample_id"] for row in trained.pool("quarantined")] == [
        row["sample_id"] for row in alone.pool("quarantined")
    ]


class Both:
    """Two changes of the program on one rank."""

    def __init__(self, *patches: Patch) -> None:
        self.patches = patches

    def apply(self) -> None:
        for patch in self.patches:
            patch.apply()


def test_images_that_go_while_they_are_summed_are_in_no_process_s_sum(
    group: Agent, trained: SmallPool, alone: SmallPool
) -> None:
    labeled = trained.pool("labeled")
    first, second = labeled[-1], labeled[-5]  # both in the second process's share
    # The one is missing when it is to be read. Then all are looked for, and another is found missing that was summed.
    going = Both(
        DeleteAtCall("dalcli.scoring.run:make_job", trained.path(first)),
        DeleteAtCall("dalcli.scoring.labeled_gradient:lose_together", trained.path(second)),
    )
    said, _ = run(group, 2, trained, rank0=going)
    assert "2 images can no longer be read: see `dalcli pool quarantine`" in said
    for row in (first, second):
        alone.path(row).unlink()
    alone.ok("score", "--full")
    assert_same_table(trained, alone)


class BlindTo:
    """A machine on which a folder of images is not mounted."""

    def __init__(self, part: str) -> None:
        self.part = part

    def apply(self) -> None:
        original = FilePixels.read
        part = self.part

        def read(source: FilePixels, rows: IntArray) -> UInt8Array:
            paths = [str(source._paths[row]) for row in rows]
            failures = [
                Failure(int(row), path, "the file is missing", True)
                for row, path in zip(rows, paths, strict=True)
                if part in path
            ]
            if failures:
                raise UnreadableImagesError(failures)
            return original(source, rows)

        FilePixels.read = read  # type: ignore[method-assign]


def test_what_only_another_machine_cannot_read_is_no_reason_to_give_images_up(
    group: Agent, trained: SmallPool, alone: SmallPool
) -> None:
    first, second = run(group, 2, trained, rank1=BlindTo("photos"))
    assert (first.name, first.code) == ("DalcliError", ExitCode.FAILED)
    assert "process 1 on " in first.text
    assert "the same paths" in first.text
    assert second.name == "ToldError"
    assert trained.pool("quarantined") == []
    trained.ok("score", "--full")
    alone.ok("score", "--full")
    assert_same_table(trained, alone)


def test_a_full_disk_of_another_process_is_told_by_rank_0(group: Agent, trained: SmallPool, alone: SmallPool) -> None:
    full = FailAtCall("dalcli.scoring.job:write_shard", OSError(28, "No space left on device"), 2)
    first, second = run(group, 2, trained, rank1=full)
    assert (first.name, first.code) == ("PeerError", ExitCode.FAILED)
    assert "process 1 on " in first.text
    assert "No space left on device" in first.text
    assert second.name == "ToldError"
    assert "scored 54 samples in " in trained.ok("score", "--full").err, "the first two shards stay"
    alone.ok("score", "--full")
    assert_same_table(trained, alone)


class OtherVersion:
    def apply(self) -> None:
        dalcli.__version__ = "0.0.1"


def test_machines_with_different_versions_do_not_work_together(group: Agent, trained: SmallPool) -> None:
    first, _ = run(group, 2, trained, rank1=OtherVersion())
    assert first.name == "PeerError"
    assert "dalcli 0.0.1 is installed here" in first.text


class ElsewhereTo:
    """A machine whose workspace is a copy: what it writes does not arrive."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def apply(self) -> None:
        from dalcli.state.workspace import find

        scoring.find = lambda _: find(self.folder)


class Impatient:
    def apply(self) -> None:
        scoring.VISIBLE_SECONDS = 0.2


def test_a_workspace_that_is_not_shared_is_noticed(group: Agent, trained: SmallPool, alone: SmallPool) -> None:
    (alone.root / ".dalcli" / "scores" / "m-0001").mkdir(parents=True)
    first, _ = run(group, 2, trained, rank0=Impatient(), rank1=ElsewhereTo(alone.root))
    assert first.name == "DalcliError"
    assert "shard-00001.safetensors" in first.text
    assert "one folder that all machines of a torchrun share" in first.text


def test_all_processes_remember_the_pixels_they_decoded(
    group: Agent, trained: SmallPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained.configure(**settings(cache=True))
    run(group, 3, trained)
    decode = mock.Mock(side_effect=AssertionError("decoded again"))
    monkeypatch.setattr(FilePixels, "_decode_into", decode)
    shutil.rmtree(trained.root / ".dalcli" / "scores")
    trained.ok("score", "--full")
