"""A workspace is a folder: it can be moved, copied, nested and reached in many ways."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from dalcli_runner import ok, run, run_process, write_labels
from workspaces import dump, make, photos


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make(tmp_path / "work")


@pytest.mark.parametrize("how", ["move", "copy", "link"])
def test_works_the_same_in_another_place(root: Path, tmp_path: Path, how: str) -> None:
    batch = ok(root, "query", "--budget", "3")
    other = tmp_path / "other" / "place"
    other.parent.mkdir()
    {"move": root.rename, "copy": lambda to: shutil.copytree(root, to), "link": lambda to: to.symlink_to(root)}[how](
        other
    )
    assert ok(other, "query", "--budget", "3").out == batch.out
    ok(other, "ingest-labels", write_labels(other / "l.csv", batch.rows, all_of_them="cat"))
    assert b"3 labeled" in ok(other, "status").out
    before = dump(other)
    ok(other, "init", "photos")
    ok(tmp_path, "-C", other, "pool", "add", other / "photos")
    assert dump(other) == before


def test_the_nearest_workspace_counts(root: Path) -> None:
    inner = make(root / "photos" / "inner", 2)
    deep = inner / "photos"
    assert ok(deep, "status", "--json").json["root"] == str(inner)
    assert ok(root / "photos", "status", "--json").json["root"] == str(root)


def test_the_workspace_may_be_named_before_or_after_the_command_or_in_the_environment(
    root: Path, tmp_path: Path
) -> None:
    other = make(tmp_path / "other", 2)

    def found(*arguments: str | Path, variable: Path | None = None) -> str:
        env = {"DALCLI_WORKSPACE": str(variable)} if variable else {}
        return str(run_process(tmp_path, *arguments, "--json", env=env).json["root"])

    assert found("-C", root, "status") == str(root)
    assert found("status", "-C", root) == str(root)
    assert found("status", variable=root) == str(root)
    assert found("-C", other, "status", variable=root) == str(other)
    assert found("status", "-C", other, variable=root) == str(other)
    assert found("-C", root, "status", "-C", other) == str(other)


def test_naming_a_folder_means_that_folder(root: Path, tmp_path: Path) -> None:
    assert run(root, "-C", root / "photos", "status").code == 5
    assert run(tmp_path, "-C", "nowhere", "status").code == 3


def test_paths_on_the_command_line_start_where_the_user_is(root: Path, tmp_path: Path) -> None:
    photos(tmp_path / "more", 2, first=50)
    ok(tmp_path, "-C", root, "pool", "add", "more")
    paths = {row["path"] for row in ok(root, "pool", "list").rows}
    assert str(tmp_path / "more" / "50.png") in paths


def test_manifest_paths_are_normalised(root: Path, tmp_path: Path) -> None:
    photos(tmp_path / "outside", 1, first=60)
    photos(root / "inside", 1, first=61)
    (root / "lists").mkdir()
    (root / "lists" / "m.csv").write_text("path\n../inside/61.png\n../../outside/60.png\n../photos/./0.png\n")
    added = ok(root, "pool", "add", "lists/m.csv")
    assert "2 new samples" in added.err
    paths = {row["path"] for row in ok(root, "pool", "list").rows}
    assert {"inside/61.png", str(tmp_path / "outside" / "60.png"), "photos/0.png"} <= paths
    assert not any(".." in path for path in paths)


def test_a_parent_of_a_link_is_the_parent_of_what_it_points_to(root: Path, tmp_path: Path) -> None:
    photos(tmp_path / "disk", 1, first=70)
    (tmp_path / "disk" / "sub").mkdir()
    (root / "link").symlink_to(tmp_path / "disk" / "sub")
    (root / "m.csv").write_text("path\nlink/../70.png\n")
    ok(root, "pool", "add", "m.csv")
    assert str(tmp_path / "disk" / "70.png") in {row["path"] for row in ok(root, "pool", "list").rows}
