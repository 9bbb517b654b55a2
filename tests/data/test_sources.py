from pathlib import Path

import pytest
from PIL import Image

from dalcli.data.found import FoundImage
from dalcli.data.sources import find_images, read_test_set
from dalcli.errors import BadInputError


def save(path: Path, kind: str = "PNG") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(path, kind)
    return path


def test_a_folder(tmp_path: Path) -> None:
    save(tmp_path / "cat/a.png")
    assert find_images(tmp_path).images == [FoundImage(tmp_path / "cat/a.png")]
    assert find_images(tmp_path, labels_from_folders=True).images == [FoundImage(tmp_path / "cat/a.png", "cat")]


def test_an_empty_folder_has_no_images(tmp_path: Path) -> None:
    assert find_images(tmp_path).images == []


@pytest.mark.parametrize("name", ["a.png", "A.JPEG", "no extension"])
def test_a_single_image(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / name)
    assert find_images(path).images == [FoundImage(path)]


@pytest.mark.parametrize("name", ["list.csv", "list.TSV", "list.txt", "list", "list.data"])
def test_a_manifest_under_any_name(tmp_path: Path, name: str) -> None:
    save(tmp_path / "a.png")
    manifest = tmp_path / name
    manifest.write_text("path,label\na.png,cat\n")
    assert find_images(manifest).images == [FoundImage(tmp_path / "a.png", "cat", None, (manifest, 2))]


def test_what_does_not_exist_is_named_with_a_suggestion(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(BadInputError, match="no such file or folder: did you mean 'photos'"):
        find_images(tmp_path / "fotos")
    with pytest.raises(BadInputError, match="no such file or folder"):
        find_images(tmp_path / "no/such/place")
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(BadInputError, match="symbolic link"):
        find_images(tmp_path / "link")


def test_a_test_set_as_a_folder_per_class(tmp_path: Path) -> None:
    for name in ("cat/a.png", "dog/b.png", "c.png"):
        save(tmp_path / name)
    found = [(image.path.name, image.label, image.split) for image in read_test_set(tmp_path).images]
    assert found == [("c.png", None, "evaluation"), ("a.png", "cat", "evaluation"), ("b.png", "dog", "evaluation")]


def test_a_test_set_as_a_table_serves_evaluation_whatever_its_split_says(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        save(tmp_path / name)
    (tmp_path / "test.csv").write_text("image;class;split\na.png;cat;train\nb.png;;\n")
    found = [(image.path.name, image.label, image.split) for image in read_test_set(tmp_path / "test.csv").images]
    assert found == [("a.png", "cat", "evaluation"), ("b.png", None, "evaluation")]
