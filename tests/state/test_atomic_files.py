"""A file is there complete or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from dalcli.state import atomic


def test_content_replaces_content(tmp_path: Path) -> None:
    target = tmp_path / "file"
    atomic.write_bytes(target, b"one")
    atomic.write_bytes(target, b"two")
    assert target.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_writer_that_fails_leaves_everything_as_it_was(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"one")

    def failing(temporary: Path) -> None:
        temporary.write_bytes(b"half")
        raise error

    with pytest.raises(type(error)):
        atomic.write_via(target, failing)
    assert target.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [target]


def test_the_target_appears_only_when_the_writer_is_done(tmp_path: Path) -> None:
    target = tmp_path / "file"
    atomic.write_via(
        target, lambda temporary: (temporary.write_bytes(b"x"), not target.exists() or pytest.fail("early"))
    )
    assert target.read_bytes() == b"x"


def test_a_folder_appears_when_all_of_it_is_there(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    (tmp_path / "elsewhere").mkdir()
    with atomic.new_folder(target) as folder:
        (folder / "below").mkdir()
        (folder / "below" / "file").write_bytes(b"x")
        (folder / "link").symlink_to(tmp_path / "elsewhere")
        assert not target.exists()
    assert (target / "below" / "file").read_bytes() == b"x"
    assert (target / "link").readlink() == tmp_path / "elsewhere"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "folder"]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_folder_that_is_not_completed_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    def fill() -> None:
        with atomic.new_folder(tmp_path / "folder") as folder:
            (folder / "file").write_bytes(b"half")
            raise error

    with pytest.raises(type(error)):
        fill()
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_left_of_a_folder_is_removed(tmp_path: Path) -> None:
    (tmp_path / "folder.partial").mkdir()
    (tmp_path / "folder.partial" / "half").touch()
    with atomic.new_folder(tmp_path / "folder") as folder:
        (folder / "file").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["folder", "file"]


def test_many_files_are_made_durable_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[object] = []
    monkeypatch.setattr(atomic, "_MANY", 2)
    monkeypatch.setattr(atomic.os, "sync", lambda: synced.append("all"))
    monkeypatch.setattr(atomic, "_sync_file", lambda path: synced.append(path.name))
    for count in (2, 3):
        with atomic.new_folder(tmp_path / str(count)) as folder:
            for number in range(count):
                (folder / str(number)).touch()
    assert sorted(map(str, synced)) == ["0", "1", "all"]


def test_what_killed_writers_left_beside_a_file_is_removed_and_nothing_else(tmp_path: Path) -> None:
    mine, other = tmp_path / ".out[1].csv.0123abcd.tmp", tmp_path / ".out1.csv.0123abcd.tmp"
    theirs = tmp_path / ".out[1].csv.swp.tmp"
    for path in (mine, other, theirs):
        path.write_bytes(b"half")
    atomic.write_bytes(tmp_path / "out[1].csv", b"whole")
    atomic.remove_leftovers(tmp_path / "out[1].csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == [other.name, theirs.name, "out[1].csv"]
