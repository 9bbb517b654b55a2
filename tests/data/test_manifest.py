from pathlib import Path

import pytest

from dalcli.data.found import FoundImage
from dalcli.data.manifest import read_manifest
from dalcli.errors import BadInputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png", "c d,é.png"):
        (tmp_path / "images" / name).write_bytes(b"not opened here")
    return tmp_path


def manifest(folder: Path, text: str) -> Path:
    path = folder / "list.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("column", ["path", "image", "file_name", "filename", "Path "])
def test_every_name_of_the_path_column(folder: Path, column: str) -> None:
    path = manifest(folder, f"{column}\nimages/b.png\nimages/a.png\n")
    assert read_manifest(path) == [
        FoundImage(folder / "images/b.png", origin=(path, 2)),
        FoundImage(folder / "images/a.png", origin=(path, 3)),
    ]


def test_labels_splits_and_other_columns(folder: Path) -> None:
    path = manifest(folder, 'id,path,class,split\n7,images/a.png, cat ,Train\n8,"images/c d,é.png",,VAL\n')
    assert read_manifest(path) == [
        FoundImage(folder / "images/a.png", "cat", "training", (path, 2)),
        FoundImage(folder / "images/c d,é.png", None, "evaluation", (path, 3)),
    ]


@pytest.mark.parametrize(
    ("word", "split"),
    [
        *((word, "training") for word in ("train", "training", "pool", "unlabeled", "TRAIN")),
        *((word, "evaluation") for word in ("test", "val", "validation", "eval", "evaluation", " Test ")),
        ("", None),
    ],
)
def test_every_word_for_a_split(folder: Path, word: str, split: str | None) -> None:
    (image,) = read_manifest(manifest(folder, f"path,split\nimages/a.png,{word}\n"))
    assert image.split == split


def test_absolute_paths(folder: Path) -> None:
    (image,) = read_manifest(manifest(folder, f'path\n"{folder / "images/a.png"}"\n'))
    assert image.path == folder / "images/a.png"


def test_every_bad_row_is_reported(folder: Path) -> None:
    path = manifest(
        folder,
        "path,label,split\nimages/a.png,cat,train\ngone.png,cat,\n,cat,\nimages/b.png,cat,tran\n"
        "images,cat,\nimages/b.png,cat\nimages/b.png,dog,holdout\n",
    )
    with pytest.raises(BadInputError) as caught:
        read_manifest(path)
    assert caught.value.problems == (
        "line 3: no such file: 'gone.png' (relative paths start at the manifest's folder)",
        "line 4: no path",
        "line 5: unknown split 'tran': did you mean 'train'?",
        "line 6: not a file: 'images'",
        "line 7: has 2 cells where the header has 3",
        "line 8: unknown split 'holdout' (known: train, training, pool, unlabeled, test, val, validation, eval, "
        "evaluation)",
    )
    assert "6 bad rows" in caught.value.message


def test_the_same_row_twice_is_one_image(folder: Path) -> None:
    path = manifest(folder, "path,label\nimages/a.png,cat\n./images/../images/a.png,cat\n")
    assert read_manifest(path) == [FoundImage(folder / "images/a.png", "cat", None, (path, 2))]


def test_rows_may_complete_each_other(folder: Path) -> None:
    path = manifest(folder, "path,label,split\nimages/a.png,,test\nimages/a.png,cat,\n")
    assert read_manifest(path) == [FoundImage(folder / "images/a.png", "cat", "evaluation", (path, 2))]


def test_contradictions_name_both_lines(folder: Path) -> None:
    path = manifest(
        folder,
        "path,label,split\nimages/a.png,cat,train\nimages/b.png,cat,train\nimages/a.png,dog,\nimages/b.png,,test\n",
    )
    with pytest.raises(BadInputError) as caught:
        read_manifest(path)
    assert caught.value.problems == (
        "line 4: label 'dog', but 'cat' in line 2 for the same image 'a.png'",
        "line 5: split 'evaluation', but 'training' in line 3 for the same image 'b.png'",
    )


def test_no_path_column_or_several(folder: Path) -> None:
    with pytest.raises(BadInputError, match=r"found the columns 'paths', 'label'[^$]*is 'paths' meant to be 'path'"):
        read_manifest(manifest(folder, "paths,label\nimages/a.png,cat\n"))
    with pytest.raises(BadInputError, match="'path', 'image' mean the same"):
        read_manifest(manifest(folder, "image,path\nimages/a.png,images/a.png\n"))
    with pytest.raises(BadInputError, match="'label', 'class' mean the same"):
        read_manifest(manifest(folder, "path,label,class\nimages/a.png,cat,cat\n"))
    with pytest.raises(BadInputError, match="'path' twice"):
        read_manifest(manifest(folder, "path,Path\nimages/a.png,images/a.png\n"))


def test_a_name_too_long_for_the_system_is_a_bad_row(folder: Path) -> None:
    with pytest.raises(BadInputError, match="line 2: File name too long"):
        read_manifest(manifest(folder, f"path\n{'x' * 5000}.png\n"))
