"""Where a workspace is, and how files in and around it are named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dalcli.errors import BadInputError, NotReadyError
from dalcli.state.workspace import Workspace, find, printable


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    root = tmp_path / "work"
    (root / ".dalcli").mkdir(parents=True)
    (root / ".dalcli" / "state.db").touch()
    return Workspace(root)


def test_files_inside_are_relative_and_others_absolute(workspace: Workspace, tmp_path: Path) -> None:
    assert workspace.stored_path(workspace.root / "a" / "b.png") == "a/b.png"
    assert workspace.stored_path(tmp_path / "c.png") == str(tmp_path / "c.png")
    assert workspace.stored_path(tmp_path / "work2" / "c.png") == str(tmp_path / "work2" / "c.png")
    for stored in ("a/b.png", str(tmp_path / "c.png")):
        assert workspace.stored_path(workspace.absolute_path(stored)) == stored


@pytest.mark.parametrize("written", ["a/./b.png", "a/../a/b.png", "a//b.png", "../work/a/b.png"])
def test_one_file_has_one_name(workspace: Workspace, written: str) -> None:
    assert workspace.stored_path(workspace.root / written) == "a/b.png"


def test_relative_paths_start_in_the_current_folder(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    (workspace.root / "sub").mkdir()
    monkeypatch.chdir(workspace.root / "sub")
    assert workspace.stored_path(Path("x.png")) == "sub/x.png"
    assert workspace.stored_path(Path("../x.png")) == "x.png"


def test_a_workspace_reached_through_a_link_names_files_the_same(workspace: Workspace, tmp_path: Path) -> None:
    (workspace.root / "a").mkdir()
    (tmp_path / "link").symlink_to(workspace.root)
    linked = Workspace(tmp_path / "link")
    assert linked.stored_path(workspace.root / "a" / "b.png") == "a/b.png"
    assert workspace.stored_path(tmp_path / "link" / "a" / "b.png") == "a/b.png"


def test_a_link_to_an_image_keeps_its_own_name(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "real.png").touch()
    (workspace.root / "link.png").symlink_to(tmp_path / "real.png")
    assert workspace.stored_path(workspace.root / "link.png") == "link.png"


def test_found_upwards_or_exactly_where_named(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = workspace.root / "a" / "b"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert find(None) == workspace
    assert find(Path("../..")) == workspace
    with pytest.raises(NotReadyError):
        find(Path())
    with pytest.raises(BadInputError):
        find(Path("none"))


def test_a_folder_of_that_name_alone_is_no_workspace(tmp_path: Path) -> None:
    (tmp_path / ".dalcli").mkdir()
    with pytest.raises(NotReadyError, match="no workspace"):
        find(tmp_path)


def test_names_that_are_not_text_are_escaped() -> None:
    assert printable(os.fsdecode(b"caf\xe9.png")) == "caf\\udce9.png"
    assert printable("café\n.png") == "café\n.png"
