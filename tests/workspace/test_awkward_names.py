"""File names are whatever people and cameras make them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from dalcli_runner import ok, run, write_labels
from workspaces import ask, ids, image, make

NAMES = [
    "with space.png",
    "comma,semicolon;tab\t.png",
    'quote".png',
    "line\nbreak.png",
    "carriage\rreturn.png",
    "cr\r\nlf.png",
    "ünïcödé 猫.png",
    "cafe\u0301.png",
    "=1+1.png",
    "-dash.png",
    "[red]:cat:.png",
    "s-0123.png",
    "\x1b[31mred.png",
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = make(tmp_path / "work", 2)
    for number, name in enumerate(NAMES, 100):
        image(root / "odd" / name, number)
    ok(root, "pool", "add", "odd")
    return root


def test_names_survive_listing_and_query(root: Path) -> None:
    expected = {f"odd/{name}" for name in NAMES} | {"photos/0.png", "photos/1.png"}
    assert {row["path"] for row in ok(root, "pool", "list").rows} == expected
    assert {row["path"] for row in ok(root, "query", "--budget", "20").rows} == expected


def test_names_come_back_as_labels_by_path_alone(root: Path) -> None:
    rows = ok(root, "query", "--budget", "20").rows
    by_path = [{"path": row["path"], "label": "cat"} for row in rows]
    ok(root, "ingest-labels", write_labels(root / "l.csv", by_path))
    labeled = {row["sample_id"] for row in ok(root, "pool", "list", "--state", "labeled").rows}
    assert labeled == {row["sample_id"] for row in rows}


def test_control_characters_never_reach_the_terminal(root: Path) -> None:
    ok(root, "query", "--budget", "20")
    shown = ok(root, "batch", "show", "b-0001").out.decode()
    assert "\x1b" not in shown
    assert "line\\nbreak.png" in shown
    assert "[red]:cat:.png" in shown
    refused = run(root, "pool", "add", "no\x1b[31m\nsuch")
    assert "\x1b" not in refused.err
    assert len(refused.err.splitlines()) <= 2


def test_names_that_are_not_utf8_are_set_aside(root: Path) -> None:
    odd = os.fsencode(root / "odd") + b"/caf\xe9.png"
    shutil.copy(root / "photos" / "0.png", odd)
    for _ in range(2):
        added = ok(root, "pool", "add", "odd")
        assert "1 file could not be read" in added.err
        assert ok(root, "pool", "quarantine").rows == [
            {
                "path": "odd/caf\\udce9.png",
                "reason": "the file name is not valid UTF-8: rename the file",
                "sample_id": "",
            }
        ]
    ok(root, "status")
    (root / "odd").rename(root / "even")
    ok(root, "pool", "relocate", "odd", "even")


def test_a_workspace_in_a_folder_that_is_not_utf8(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    root = make(folder, 3)
    assert b"caf\\udce9" in ok(root, "status").out
    assert ok(root, "status", "--json").json["root"] == str(folder)
    rows = ok(root, "query", "--budget", "2").rows
    ok(tmp_path, "-C", folder, "ingest-labels", write_labels(folder / "l.csv", rows, all_of_them="cat"))


def test_a_label_file_whose_name_is_not_utf8(root: Path) -> None:
    sample = ids(root / "photos")["0.png"]
    path = Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9.csv"))
    path.write_text(f"sample_id,label\n{sample},cat\n")
    ok(root, "ingest-labels", path)
    assert ask(root, "SELECT file FROM vote") == [("caf\\udce9.csv",)]


def test_class_folders_that_cannot_be_class_names(tmp_path: Path) -> None:
    image(tmp_path / "photos" / "cat" / "1.png", 1)
    image(tmp_path / "photos" / os.fsdecode(b"caf\xe9") / "2.png", 2)
    refused = run(tmp_path, "init", "photos", "--labels-from-folders")
    assert refused.code == 3
    assert "not valid UTF-8" in refused.err
