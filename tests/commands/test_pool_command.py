"""``pool``: samples are their bytes, whatever their files are called and whatever happens to them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from dalcli_runner import message, ok, problems, run, write_labels
from workspaces import add_model, ask, dump, ids, image, make

from dalcli.data.identity import sample_id


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make(tmp_path / "work", 6)


def state_of(root: Path, sample: str) -> str:
    return next(row["state"] for row in ok(root, "pool", "list").rows if row["sample_id"] == sample)


def count(root: Path, state: str) -> int:
    return sum(row["state"] == state for row in ok(root, "pool", "list").rows)


def test_adding_the_same_again_changes_nothing(root: Path) -> None:
    image(root / "more" / "a.png", 100)
    first = ok(root, "pool", "add", "more", "photos")
    before = dump(root)
    again = ok(root, "pool", "add", "more", "photos")
    assert again.out == first.out
    assert dump(root) == before
    assert b"7 (7 unlabeled)" in first.out


def test_the_same_bytes_under_two_names_are_one_sample(root: Path) -> None:
    shutil.copy(root / "photos" / "0.png", root / "photos" / "copy.png")
    added = ok(root, "pool", "add", "photos")
    assert "1 file holds bytes known under another name: counted and labeled once" in added.err
    assert len(ok(root, "pool", "list").rows) == 6
    assert len(ok(root, "query", "--budget", "10").rows) == 6


def test_an_image_edited_in_place_is_another_sample(root: Path) -> None:
    old = sample_id(root / "photos" / "0.png")
    image(root / "photos" / "0.png", 500)
    ok(root, "pool", "add", "photos")
    listed = {row["path"]: row["sample_id"] for row in ok(root, "pool", "list").rows}
    assert listed["photos/0.png"] == sample_id(root / "photos" / "0.png") != old
    assert len(listed) == 6  # nobody had used the old one: it is forgotten
    assert ok(root, "pool", "quarantine").rows == []


def test_a_used_image_edited_in_place_is_set_aside_with_its_labels(root: Path) -> None:
    old = sample_id(root / "photos" / "0.png")
    (root / "l.csv").write_text(f"sample_id,label\n{old},cat\n")
    ok(root, "ingest-labels", "l.csv")
    kept = (root / "photos" / "0.png").read_bytes()
    image(root / "photos" / "0.png", 500)
    added = ok(root, "pool", "add", "photos")
    assert "warning: 1 image in use was overwritten by another" in added.err
    assert ok(root, "pool", "quarantine").rows == [
        {"path": "", "reason": "photos/0.png holds other bytes now", "sample_id": old}
    ]
    assert count(root, "quarantined") == 1
    (root / "photos" / "back.png").write_bytes(kept)
    ok(root, "pool", "add", "photos")
    assert state_of(root, old) == "labeled"
    assert ok(root, "pool", "quarantine").rows == []


def test_damaged_files_are_set_aside_and_come_back_mended(root: Path) -> None:
    broken = root / "photos" / "broken.png"
    broken.write_bytes((root / "photos" / "0.png").read_bytes()[:40])
    (root / "photos" / "empty.jpg").write_bytes(b"")
    added = ok(root, "pool", "add", "photos")
    assert "warning: 2 files could not be read: see `dalcli pool quarantine`" in added.err
    listed = {row["path"]: row["reason"] for row in ok(root, "pool", "quarantine").rows}
    assert listed["photos/empty.jpg"] == "empty file"
    assert set(listed) == {"photos/broken.png", "photos/empty.jpg"}
    assert len(ok(root, "query", "--budget", "10").rows) == 6
    image(broken, 77)
    image(root / "photos" / "empty.jpg", 78)  # a PNG by content, which is what counts
    ok(root, "pool", "add", "photos")
    assert ok(root, "pool", "quarantine").rows == []
    assert count(root, "quarantined") == 0
    assert len(ok(root, "query", "--new", "--budget", "10").rows) == 2


def test_a_file_that_cannot_be_read_for_now_keeps_its_sample(root: Path) -> None:
    path = root / "photos" / "0.png"
    known = sample_id(path)
    content = path.read_bytes()
    path.unlink()
    path.symlink_to("nowhere.png")
    ok(root, "pool", "add", "photos")
    assert state_of(root, known) == "quarantined"
    assert ok(root, "pool", "quarantine").rows == [
        {"path": "photos/0.png", "reason": "broken symbolic link", "sample_id": known}
    ]
    path.unlink()
    path.write_bytes(content)
    ok(root, "pool", "add", "photos")
    assert state_of(root, known) == "unlabeled"
    assert ok(root, "pool", "quarantine").rows == []


def test_listing_by_state(root: Path) -> None:
    rows = ok(root, "query", "--budget", "3").rows
    ok(root, "ingest-labels", write_labels(root / "l.csv", rows[:1], all_of_them="cat"))
    labeled = ok(root, "pool", "list", "--state", "labeled").rows
    assert [(row["sample_id"], row["label"]) for row in labeled] == [(rows[0]["sample_id"], "cat")]
    assert len(ok(root, "pool", "list", "--state", "in flight", "--state", "unlabeled").rows) == 5
    refused = run(root, "pool", "list", "--state", "lost")
    assert refused.code == 2
    assert "in flight" in refused.err


def test_labels_of_added_images_are_recorded_or_nothing_is(root: Path) -> None:
    image(root / "new" / "cat" / "a.png", 101)
    image(root / "new" / "dgo" / "b.png", 102)
    before = dump(root)
    refused = run(root, "pool", "add", "new", "--labels-from-folders")
    assert refused.code == 3
    assert problems(refused) == ["new/dgo/b.png: unknown class 'dgo': did you mean 'dog'?"]
    assert dump(root) == before
    (root / "new" / "dgo").rename(root / "new" / "dog")
    image(root / "new" / "dog" / "same.png", 101)
    refused = run(root, "pool", "add", "new", "--labels-from-folders")
    assert refused.code == 3
    assert dump(root) == before
    (root / "new" / "dog" / "same.png").unlink()
    ok(root, "pool", "add", "new", "--labels-from-folders")
    assert count(root, "labeled") == 2


def test_a_test_image_that_a_model_saw_stays_in_training(root: Path) -> None:
    seen = sample_id(root / "photos" / "0.png")
    (root / "l.csv").write_text(f"sample_id,label\n{seen},cat\n")
    ok(root, "ingest-labels", "l.csv")
    add_model(root)
    image(root / "test" / "cat" / "seen.png", 0)
    image(root / "test" / "dog" / "unseen.png", 1)
    added = ok(root, "pool", "add", "--test", "test")
    assert "1 test image stays in training: a model was already trained on it" in added.err
    assert "1 image is in the pool and in the test set" in added.err
    purposes = dict(ask(root, "SELECT sample_id, purpose FROM sample"))
    assert purposes[seen] == "training"
    assert purposes[sample_id(root / "photos" / "1.png")] == "evaluation"


def test_files_of_the_pool_may_be_declared_the_test_set(root: Path) -> None:
    (root / "test.csv").write_text("path,label\nphotos/0.png,cat\nphotos/1.png,dog\n")
    ok(root, "pool", "add", "--test", "test.csv")
    assert ask(root, "SELECT count(*) FROM sample WHERE purpose = 'evaluation'") == [(2,)]
    before = dump(root)
    ok(root, "pool", "add", "--test", "test.csv")
    ok(root, "pool", "add", "photos")
    assert dump(root) == before


def test_a_damaged_image_stays_damaged_when_it_moves(root: Path) -> None:
    (root / "photos" / "broken.png").write_bytes((root / "photos" / "0.png").read_bytes()[:40])
    ok(root, "pool", "add", "photos")
    (root / "photos").rename(root / "pics")
    ok(root, "pool", "relocate", "photos", "pics")
    assert [row["path"] for row in ok(root, "pool", "quarantine").rows] == ["pics/broken.png"]
    assert count(root, "quarantined") == 1


def test_nothing_to_add_is_a_usage_error(root: Path) -> None:
    assert run(root, "pool", "add").code == 2


def test_relocate_follows_moved_images(root: Path, tmp_path: Path) -> None:
    before = ids(root / "photos")
    (root / "photos").rename(tmp_path / "elsewhere")
    moved = ok(root, "pool", "relocate", "photos", tmp_path / "elsewhere")
    assert moved.out.decode() == f"6 files are known at {tmp_path / 'elsewhere'}\n"
    paths = {row["path"]: row["sample_id"] for row in ok(root, "pool", "list").rows}
    assert paths == {str(tmp_path / "elsewhere" / name): sample for name, sample in before.items()}
    again = ok(root, "pool", "relocate", "photos", tmp_path / "elsewhere")
    assert again.out == moved.out
    (tmp_path / "elsewhere").rename(root / "pics")
    ok(root, "pool", "relocate", tmp_path / "elsewhere", "pics")
    assert {row["path"] for row in ok(root, "pool", "list").rows} == {f"pics/{name}" for name in before}


def test_relocate_counts_a_single_file_as_one(root: Path) -> None:
    (root / "photos" / "0.png").rename(root / "zero.png")
    assert ok(root, "pool", "relocate", "photos/0.png", "zero.png").out == b"1 file is known at zero.png\n"
    refused = run(root, "pool", "relocate", "photos/1.png", "zero.png")
    assert message(refused) == ["error: 1 of 1 file is not the same at zero.png; nothing was changed"]


def test_relocate_to_the_workspace_itself_and_below_its_old_place(root: Path) -> None:
    for path in (root / "photos").iterdir():
        path.rename(root / path.name)
    ok(root, "pool", "relocate", "photos", ".")
    assert {row["path"] for row in ok(root, "pool", "list").rows} == {f"{n}.png" for n in range(6)}
    (root / "photos" / "deep").mkdir()
    for path in root.glob("*.png"):
        path.rename(root / "photos" / "deep" / path.name)
    ok(root, "pool", "relocate", ".", "photos/deep")
    assert {row["path"] for row in ok(root, "pool", "list").rows} == {f"photos/deep/{n}.png" for n in range(6)}


def test_relocate_onto_names_that_are_taken(tmp_path: Path) -> None:
    root = make(tmp_path / "work", 2)
    image(root / "photos" / "sub" / "0.png", 50)
    ok(root, "pool", "add", "photos")
    first, nested = sample_id(root / "photos" / "0.png"), sample_id(root / "photos" / "sub" / "0.png")
    (root / "photos").rename(root / "aside")
    (root / "photos").mkdir()
    (root / "aside").rename(root / "photos" / "sub")
    ok(root, "pool", "relocate", "photos", "photos/sub")
    listed = {row["path"]: row["sample_id"] for row in ok(root, "pool", "list").rows}
    assert listed["photos/sub/0.png"] == first
    assert listed["photos/sub/sub/0.png"] == nested
    assert len(listed) == 3


def test_relocate_compares_bytes_first(root: Path) -> None:
    shutil.copytree(root / "photos", root / "pics")
    image(root / "pics" / "3.png", 400)
    (root / "pics" / "4.png").unlink()
    before = dump(root)
    refused = run(root, "pool", "relocate", "photos", "pics")
    assert refused.code == 3
    assert "2 of 6 files" in message(refused)[0]
    assert problems(refused) == ["pics/3.png: has other content", "pics/4.png: no such file or directory"]
    assert dump(root) == before
    assert run(root, "pool", "relocate", "photos", "nowhere").code == 3
    assert run(root, "pool", "relocate", "unknown", "pics").code == 3


def test_relocate_is_not_held_up_by_images_that_were_missing_before(root: Path) -> None:
    gone = root / "photos" / "2.png"
    lost = sample_id(gone)
    gone.unlink()
    gone.symlink_to("nowhere")
    ok(root, "pool", "add", "photos")
    gone.unlink()
    (root / "photos").rename(root / "pics")
    moved = ok(root, "pool", "relocate", "photos", "pics")
    assert moved.out == b"5 files are known at pics\n"
    assert "1 file was missing before and is not at pics either: it stays" in moved.err
    assert state_of(root, lost) == "quarantined"
    assert ok(root, "pool", "relocate", "photos", "pics").out == moved.out
    (root / "empty").mkdir()
    before = dump(root)
    assert run(root, "pool", "relocate", "photos", "empty").code == 3
    assert dump(root) == before


def test_relocate_brings_missing_images_back(root: Path) -> None:
    with_sample = ok(root, "pool", "list").rows[0]
    path = root / with_sample["path"]
    path.rename(root / "moved.png")
    path.symlink_to("nowhere")
    ok(root, "pool", "add", "photos")
    assert state_of(root, with_sample["sample_id"]) == "quarantined"
    ok(root, "pool", "relocate", with_sample["path"], "moved.png")
    assert ok(root, "pool", "quarantine").rows == []
    assert state_of(root, with_sample["sample_id"]) == "unlabeled"
