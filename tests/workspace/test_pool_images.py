"""``PoolImages``: every image once, in order, as Pillow decodes it; what cannot be read is left out and set aside."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from workspaces import ask, dump, make

from dalcli.data import file_pixels
from dalcli.data.identity import sample_id
from dalcli.data.pixels import Failure, UnreadableImagesError
from dalcli.errors import DalcliError
from dalcli.feedback import SilentFeedback
from dalcli.state import catalog
from dalcli.state.catalog import PoolImage, SeenFile
from dalcli.workspace import image_files
from dalcli.workspace.image_files import FoundFile, find_file, find_files
from dalcli.workspace.images import Block, PoolImages
from dalcli.workspace.session import Session, open_session

COUNT = 12
SIZE = (6, 9)


class Said(SilentFeedback):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, message: str) -> None:
        self.lines.append(message)

    warn = note


@pytest.fixture(params=[True, False], ids=["cached", "not cached"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return made(tmp_path / "w", cache=request.param)


@pytest.fixture
def uncached(tmp_path: Path) -> Path:
    return made(tmp_path / "w", cache=False)


def made(root: Path, *, cache: bool) -> Path:
    """A workspace of noisy images of different shapes."""
    (root / "photos").mkdir(parents=True)
    rng = np.random.default_rng(5)
    for number in range(COUNT):
        noise = rng.integers(0, 256, (5 + number, 18 - number, 3), dtype=np.uint8)
        Image.fromarray(noise).save(root / "photos" / f"{number:02d}.png")
    return make(root, 0, config=f"data: {{cache: {json.dumps(cache)}, workers: 2}}\n")


@pytest.fixture
def session(root: Path) -> Iterator[Session]:
    with open_session(root, Said()) as opened:
        yield opened


@pytest.fixture
def uncached_session(uncached: Path) -> Iterator[Session]:
    with open_session(uncached, Said()) as opened:
        yield opened


def said(session: Session) -> list[str]:
    assert isinstance(session.feedback, Said)
    return session.feedback.lines


def listed(session: Session) -> list[PoolImage]:
    with session.database.read() as connection:
        return catalog.images(connection, "training")


def file_of(session: Session, image: PoolImage) -> Path:
    return session.workspace.absolute_path(image.path)


def decoded(path: Path) -> NDArray[np.uint8]:
    """By Pillow alone."""
    height, width = SIZE
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR))


def damage(path: Path) -> None:
    """Break the bytes in a way that size and time do not show."""
    status = path.stat()
    path.write_bytes(path.read_bytes()[:60].ljust(status.st_size, b"\0"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def quarantined(session: Session) -> dict[str, str]:
    rows = ask(session.workspace.root, "SELECT sample_id, quarantine FROM sample WHERE quarantine IS NOT NULL")
    return {str(name): str(reason) for name, reason in rows}


def rows_of(blocks: list[Block]) -> list[int]:
    return [row for block in blocks for row in block.rows.tolist()]


# What comes out -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3, 5, COUNT, 100])
def test_every_image_comes_once_in_order_as_pillow_decodes_it(session: Session, size: int) -> None:
    images = listed(session)
    expected = np.stack([decoded(file_of(session, image)) for image in images])
    for _ in range(2):  # then from the cache, where there is one
        with PoolImages.open(session, images, SIZE) as opened:
            assert (len(opened), opened.rows.tolist()) == (COUNT, list(range(COUNT)))
            assert opened.paths == tuple(image.path for image in images)
            blocks = list(opened.blocks(size))
            np.testing.assert_array_equal(opened.read(np.array([7, 0, 7])), expected[[7, 0, 7]])
        assert rows_of(blocks) == list(range(COUNT))
        assert [len(block) for block in blocks[:-1]] == [size] * (len(blocks) - 1)
        np.testing.assert_array_equal(np.concatenate([block.inputs for block in blocks]), expected)
    assert quarantined(session) == {}
    assert said(session) == []


def test_only_the_rows_asked_for_come_in_their_order(session: Session) -> None:
    images = listed(session)
    rows = [9, 0, 4, 11, 1]
    with PoolImages.open(session, images, SIZE) as opened:
        for complete in (False, True):
            blocks = list(opened.blocks(2, np.array(rows), complete=complete))
            assert [block.rows.tolist() for block in blocks] == [[9, 0], [4, 11], [1]]
            pixels = np.concatenate([block.inputs for block in blocks])
            np.testing.assert_array_equal(pixels, [decoded(file_of(session, images[row])) for row in rows])
        assert list(opened.blocks(2, np.array([], np.int64))) == []


def test_nothing_opened_is_nothing_read(session: Session) -> None:
    with PoolImages.open(session, [], SIZE) as opened:
        assert (len(opened), opened.rows.tolist(), list(opened.blocks(3))) == (0, [], [])


def test_another_process_opens_the_same_rows(session: Session) -> None:
    images = listed(session)[::-1]
    with PoolImages.open(session, images, SIZE) as opened:
        before = dump(session.workspace.root)
        listing = [(int(key), str(name), str(path)) for key, name, path in json.loads(json.dumps(opened.listed))]
        assert listing == opened.listed
        damage(file_of(session, images[3]))
        with PoolImages.reopen(session, listing, SIZE, look_only=True) as again:
            assert again.paths == opened.paths
            blocks = list(again.blocks(4))
            assert not again.caching
    assert rows_of(blocks) == [row for row in range(COUNT) if row != 3]
    for block in blocks:
        for row, pixels in zip(block.rows, block.inputs, strict=True):
            np.testing.assert_array_equal(pixels, decoded(file_of(session, images[row])))
    assert dump(session.workspace.root) == before, "only who has a database records what is lost"
    assert not (session.workspace.state / "cache").exists()


# What cannot be read --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 4, 100])
def test_unreadable_images_are_left_out_and_set_aside_once(session: Session, size: int) -> None:
    images = listed(session)
    broken = [0, 5, 6]
    for row in broken:
        damage(file_of(session, images[row]))
    good = [row for row in range(COUNT) if row not in broken]
    with PoolImages.open(session, images, SIZE) as opened:
        assert len(opened) == COUNT, "nobody has looked yet"
        blocks = list(opened.blocks(size))
        assert rows_of(blocks) == good
        assert min(len(block) for block in blocks) > 0
        pixels = np.concatenate([block.inputs for block in blocks])
        np.testing.assert_array_equal(pixels, [decoded(file_of(session, images[row])) for row in good])
        assert sorted(opened.lost) == broken
        assert opened.rows.tolist() == good
        assert not any(failure.missing for failure in opened.lost.values())
        first = said(session).copy()
        assert rows_of(list(opened.blocks(size))) == good
        opened.lose(list(opened.lost.values()))
        assert said(session) == first, "known already"
    assert [line for line in first if "can no longer be read" not in line] == []
    assert quarantined(session) == {images[row].sample_id: opened.lost[row].reason for row in broken}
    assert [image.sample_id for image in listed(session)] == [images[row].sample_id for row in good]


def test_all_or_nothing(session: Session) -> None:
    images = listed(session)
    for row in (5, 6, 10):
        damage(file_of(session, images[row]))
    with PoolImages.open(session, images, SIZE) as opened:
        before = dump(session.workspace.root)
        blocks = opened.blocks(4, complete=True)
        assert next(blocks).rows.tolist() == [0, 1, 2, 3]
        with pytest.raises(UnreadableImagesError) as caught:
            next(blocks)
        assert sorted(failure.row for failure in caught.value.failures) == [5, 6]
        with pytest.raises(UnreadableImagesError) as caught:
            opened.read(np.arange(COUNT))
        assert sorted(failure.row for failure in caught.value.failures) == [5, 6, 10]
        lost = next(failure for failure in caught.value.failures if failure.row == 5)
        opened.require_unreadable(lost, "process 1")
        with pytest.raises(DalcliError, match=r"process 1 cannot read .*, which process 0 can\n.*same paths"):
            opened.require_unreadable(replace(lost, row=4), "process 1")
        assert opened.lost == {}
        assert dump(session.workspace.root) == before, "the caller decides"
    assert said(session) == []


@pytest.mark.parametrize("gone", [[3], [0, 4, 11]])
def test_what_is_missing_on_opening_is_no_row(session: Session, gone: list[int]) -> None:
    images = listed(session)
    for row in gone:
        file_of(session, images[row]).unlink()
    kept = [image for row, image in enumerate(images) if row not in gone]
    with PoolImages.open(session, images, SIZE) as opened:
        assert opened.images == tuple(kept)
        pixels = np.concatenate([block.inputs for block in opened.blocks(5)])
    np.testing.assert_array_equal(pixels, [decoded(file_of(session, image)) for image in kept])
    assert quarantined(session) == {images[row].sample_id: "the file is missing" for row in gone}
    assert len(said(session)) == 1


def test_images_that_vanish_meanwhile_are_left_out_and_all_others_looked_for(uncached_session: Session) -> None:
    session = uncached_session
    images = listed(session)
    with PoolImages.open(session, images, SIZE) as opened:
        stream = opened.blocks(1, np.array([1, 2, 3]))
        file_of(session, images[3]).unlink()
        file_of(session, images[8]).unlink()  # which nobody reads
        assert rows_of(list(stream)) == [1, 2]
        assert sorted(opened.lost) == [3, 8]
        assert opened.lost[8] == Failure(8, images[8].path, "the file is missing", missing=True)
    assert quarantined(session).keys() == {images[3].sample_id, images[8].sample_id}
    assert said(session) == ["2 images can no longer be read: see `dalcli pool quarantine`"]


@pytest.mark.parametrize("gone", range(1, COUNT + 1))
def test_most_images_missing_on_opening_is_a_missing_disk(uncached: Path, gone: int) -> None:
    with open_session(uncached, Said()) as session:
        images = listed(session)
        for image in images[:gone]:
            file_of(session, image).unlink()
        before = dump(uncached)
        if gone <= COUNT / 2:
            with PoolImages.open(session, images, SIZE) as opened:
                assert len(opened) == COUNT - gone
            assert len(quarantined(session)) == gone
        else:
            with pytest.raises(DalcliError, match=f"{gone} of {COUNT} images are missing.*nothing was changed"):
                PoolImages.open(session, images, SIZE)
            assert dump(uncached) == before


def test_a_disk_that_goes_while_images_are_read_sets_nothing_aside(uncached_session: Session) -> None:
    session = uncached_session
    images = listed(session)
    damage(file_of(session, images[0]))
    with PoolImages.open(session, images, SIZE) as opened:
        assert rows_of(list(opened.blocks(3, np.arange(3)))) == [1, 2]
        (session.workspace.root / "photos").rename(session.workspace.root / "unmounted")
        with pytest.raises(DalcliError, match="nothing was changed") as caught:
            list(opened.blocks(3))
        assert "pool relocate" in str(caught.value.remedy)
        assert sorted(opened.lost) == [0], "as before"
        assert quarantined(session).keys() == {images[0].sample_id}
        (session.workspace.root / "unmounted").rename(session.workspace.root / "photos")
        assert rows_of(list(opened.blocks(3))) == list(range(1, COUNT))


# Other names of the same bytes ----------------------------------------------------------------------------------------


def with_copies(session: Session, rows: list[int]) -> list[PoolImage]:
    """The images, some of which have a second name that was seen later."""
    images = listed(session)
    for row in rows:
        path = file_of(session, images[row])
        copy = path.with_name(f"copy-{path.name}")
        shutil.copy2(path, copy)
        with session.database.write() as connection:
            connection.execute(
                "INSERT INTO file (path, sample, size, mtime_ns, added_at) VALUES (?, ?, ?, ?, 'later')",
                (f"photos/{copy.name}", images[row].key, copy.stat().st_size, copy.stat().st_mtime_ns),
            )
    return listed(session)


def test_where_one_name_is_gone_another_is_tried(session: Session) -> None:
    images = with_copies(session, [2, 4])
    assert [len(image.files) for image in images] == [2 if row in {2, 4} else 1 for row in range(COUNT)]
    expected = [decoded(file_of(session, image)) for image in images]
    file_of(session, images[2]).unlink()
    Image.new("RGB", (3, 3)).save(file_of(session, images[4]))
    with PoolImages.open(session, images, SIZE) as opened:
        assert (opened.paths[2], opened.paths[4]) == (images[2].files[1].path, images[4].files[1].path)
        np.testing.assert_array_equal(np.concatenate([block.inputs for block in opened.blocks(5)]), expected)
    assert quarantined(session) == {}


def test_a_name_that_goes_while_images_are_read_loses_no_image_that_has_another(uncached_session: Session) -> None:
    session = uncached_session
    images = with_copies(session, [2])
    with PoolImages.open(session, images, SIZE) as opened:
        file_of(session, images[2]).unlink()
        assert rows_of(list(opened.blocks(5))) == [row for row in range(COUNT) if row != 2]
    assert quarantined(session) == {}
    assert said(session) == []
    with PoolImages.open(session, images, SIZE) as opened:
        assert rows_of(list(opened.blocks(5))) == list(range(COUNT))


# Looking only, and closing --------------------------------------------------------------------------------------------


def test_who_peeks_records_nothing(session: Session) -> None:
    images = listed(session)
    file_of(session, images[1]).unlink()
    damage(file_of(session, images[5]))
    os.utime(file_of(session, images[7]), (1, 1))
    before = dump(session.workspace.root)
    with PoolImages.peek(session, images, SIZE) as opened:
        assert opened.images == (images[0], *images[2:])
        blocks = list(opened.blocks(4))
        assert not opened.caching
    assert rows_of(blocks) == [row for row in range(COUNT - 1) if row != 4]
    assert sorted(opened.lost) == [4]
    for block in blocks:
        for row, pixels in zip(block.rows, block.inputs, strict=True):
            np.testing.assert_array_equal(pixels, decoded(file_of(session, opened.images[row])))
    assert dump(session.workspace.root) == before
    assert not (session.workspace.state / "cache").exists()
    assert said(session) == []


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "dalcli-prefetch"]


@pytest.mark.parametrize("error", [None, KeyError("of the caller")])
def test_closed_nothing_reads_ahead_and_what_was_decoded_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    root = made(tmp_path / "w", cache=True)
    decodes: list[Path] = []
    original = file_pixels.decode

    def counted(path: Path, **options: object) -> NDArray[np.uint8]:
        decodes.append(path)
        return original(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(file_pixels, "decode", counted)
    with open_session(root, Said()) as session:
        images = listed(session)
        opened = PoolImages.open(session, images, SIZE)
        assert (opened.caching, opened.bytes_to_cache > 0) == (True, True)
        try:
            with opened:
                first = opened.blocks(2)
                assert next(first).rows.tolist() == [0, 1]
                assert next(opened.blocks(2)).rows.tolist() == [0, 1]
                assert len(readers()) == 2
                if error is not None:
                    raise error
        except KeyError as raised:
            assert raised is error
        assert readers() == []
        assert list(first) == [], "a stream that was closed has ended"
        seen = len(set(decodes))
        assert 2 <= seen < COUNT
        decodes.clear()
        with PoolImages.open(session, images, SIZE) as again:
            assert rows_of(list(again.blocks(COUNT))) == list(range(COUNT))
        assert len(decodes) == COUNT - seen, "nothing is decoded twice"
        assert PoolImages.open(session, images, SIZE).bytes_to_cache == 0


# Where files are ------------------------------------------------------------------------------------------------------


def test_where_a_file_is_or_why_there_is_none(uncached_session: Session, tmp_path: Path) -> None:
    workspace = uncached_session.workspace
    path = Image.new("RGB", (2, 2), (1, 2, 3)).save(tmp_path / "a.png") or tmp_path / "a.png"
    status = path.stat()
    right = SeenFile(str(path), status.st_size, status.st_mtime_ns)
    touched = SeenFile(str(path), status.st_size, 1)
    gone = SeenFile(str(tmp_path / "gone.png"), 1, 1)
    folder = SeenFile(str(tmp_path), 1, 1)
    name, other = sample_id(path), "s-" + 32 * "0"

    def found(sample: str, *files: SeenFile) -> FoundFile:
        return find_file(workspace, PoolImage(1, sample, files))

    assert found(name, right) == found(name, gone, folder, right) == FoundFile(right.path)
    assert found(name, touched) == FoundFile(right.path, touched=right)
    assert found(other, touched) == FoundFile(right.path, "the content changed since registration")
    assert found(name, gone) == FoundFile(gone.path, "the file is missing")
    assert found(name, touched, right) == FoundFile(right.path, touched=right)
    assert found(name, gone, folder).problem not in {None, "the file is missing"}
    assert found(name) == FoundFile("", "no file is known to hold it")


def test_a_touched_file_is_hashed_once(uncached_session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    session = uncached_session
    monkeypatch.setattr(image_files, "AT_ONCE", 5)
    images = listed(session)
    for row in (1, 10):
        os.utime(file_of(session, images[row]), (1, 1))
    found = find_files(session, images)
    assert [place.path for place in found] == [image.path for image in images]
    assert [row for row, place in enumerate(found) if place.touched is not None] == [1, 10]
    again = find_files(session, listed(session))
    assert [place.touched for place in again] == [None] * COUNT
