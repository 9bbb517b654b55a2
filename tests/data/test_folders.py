import os
from pathlib import Path

import pytest

from dalcli.data.folders import search_folder
from dalcli.errors import BadInputError


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not opened by a search")


def names(root: Path) -> list[str]:
    return [os.fspath(image.path.relative_to(root)) for image in search_folder(root).images]


def test_finds_images_by_extension_in_any_case_sorted(tmp_path: Path) -> None:
    touch(tmp_path, "b.PNG", "a.jpg", "sub/deep/er/c.Tiff", "sub/a.webp", "sub-1/x.bmp")
    assert names(tmp_path) == ["a.jpg", "b.PNG", "sub/a.webp", "sub/deep/er/c.Tiff", "sub-1/x.bmp"]


def test_other_files_are_counted_not_listed(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "notes.txt", "sub/model.h5", "noextension", "x.eps")
    found = search_folder(tmp_path)
    assert [image.path.name for image in found.images] == ["a.jpg"]
    assert found.ignored == 4


def test_hidden_files_and_folders_are_passed_over(tmp_path: Path) -> None:
    touch(
        tmp_path, "a.jpg", ".b.jpg", ".dalcli/cache/c.png", ".git/d.png", "sub/._e.png", "sub/.ipynb_checkpoints/f.png"
    )
    found = search_folder(tmp_path)
    assert [image.path.name for image in found.images] == ["a.jpg"]
    assert found.ignored == 0


def test_a_hidden_folder_can_be_named_itself(tmp_path: Path) -> None:
    touch(tmp_path, ".photos/a.jpg")
    assert names(tmp_path / ".photos") == ["a.jpg"]


def test_odd_names_are_names(tmp_path: Path) -> None:
    odd = ["with space.png", "new\nline.png", "ünï.png", "日本/🐈.png", "a,b;c.png", "-x.png", "~.png", "%20.png"]
    touch(tmp_path, *odd)
    assert sorted(names(tmp_path)) == sorted(odd)


def test_undecodable_names_are_found(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9.png"
    with open(raw, "wb") as file:  # noqa: PTH123
        file.write(b"x")
    assert [os.fsencode(image.path) for image in search_folder(tmp_path).images] == [raw]


def test_links_are_followed_without_looping(tmp_path: Path) -> None:
    touch(tmp_path, "pool/a.png", "pool/sub/b.png", "elsewhere/c.png")
    (tmp_path / "pool/sub/up").symlink_to("..")
    (tmp_path / "pool/self").symlink_to(".")
    (tmp_path / "pool/far").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "pool")
    (tmp_path / "pool/file.png").symlink_to(tmp_path / "elsewhere/c.png")
    assert names(tmp_path / "pool") == ["a.png", "far/c.png", "file.png", "sub/b.png"]


def test_a_folder_reachable_by_a_link_keeps_its_own_name(tmp_path: Path) -> None:
    touch(tmp_path, "zebra/stripes/a.png")
    (tmp_path / "alias").symlink_to("zebra")
    (tmp_path / "again").symlink_to("zebra/stripes")
    assert names(tmp_path) == ["zebra/stripes/a.png"]


def test_broken_links_are_listed_pipes_are_not(tmp_path: Path) -> None:
    (tmp_path / "gone.png").symlink_to("nowhere.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    assert names(tmp_path) == ["gone.png"]
    assert search_folder(tmp_path).ignored == 1


def test_the_first_folder_below_the_source_is_the_class(tmp_path: Path) -> None:
    touch(tmp_path, "cat/a.png", "cat/2024/may/b.png", "dog/c.png", "loose.png")
    found = search_folder(tmp_path, labels_from_folders=True)
    labels = {image.path.name: image.label for image in found.images}
    assert labels == {"a.png": "cat", "b.png": "cat", "c.png": "dog", "loose.png": None}
    assert all(image.label is None for image in search_folder(tmp_path).images)
    assert all(image.split is None and image.origin is None for image in found.images)


def test_classes_come_out_right_for_a_relative_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "cat/a.png")
    monkeypatch.chdir(tmp_path)
    for source in (Path(), Path("./"), Path("../") / tmp_path.name):
        (image,) = search_folder(source, labels_from_folders=True).images
        assert image.label == "cat"
        assert image.path.samefile("cat/a.png")


def test_folders_that_cannot_be_read_are_all_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a.png", "locked1/b.png", "locked2/c.png")
    scandir = os.scandir

    def refuse(path: str) -> object:
        if "locked" in path:
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)  # chmod does not stop root
    with pytest.raises(BadInputError) as caught:
        search_folder(tmp_path)
    assert "2 folders cannot be read, first: " in str(caught.value)
    assert sorted(caught.value.problems) == [f"{tmp_path}/locked{n}: Permission denied" for n in (1, 2)]


def test_depth_is_no_problem(tmp_path: Path) -> None:
    touch(tmp_path, "a.png")
    deepest = tmp_path / "/".join(["d"] * 1200)  # more than Python's recursion limit
    for depth in range(1, 1201):
        (tmp_path / "/".join(["d"] * depth)).mkdir()
    try:
        assert names(tmp_path) == ["a.png"]
    finally:
        os.removedirs(deepest)  # whoever tidies up later might recurse, too
