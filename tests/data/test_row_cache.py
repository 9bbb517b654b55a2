"""The pixel cache gives back exactly what the source decoded, whatever happens to its files."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

import numpy as np
import pytest

from dalcli.config.hashing import fingerprint
from dalcli.data import row_cache
from dalcli.data.cache_segment import RowFormat
from dalcli.data.pixels import Failure, IntArray, UInt8Array, UnreadableImagesError
from dalcli.data.row_cache import CachedRows, cache_bytes, cache_name

SHAPE = (5, 4, 3)


class CountingSource:
    """Images made from their number, counting how often each was decoded."""

    shape = SHAPE

    def __init__(self, numbers: list[int], broken: frozenset[int] = frozenset()) -> None:
        self.numbers = numbers
        self.broken = broken
        self.decoded: list[int] = []

    def __len__(self) -> int:
        return len(self.numbers)

    def read(self, rows: IntArray) -> UInt8Array:
        failures = [Failure(int(row), "x", "broken", False) for row in rows if self.numbers[row] in self.broken]
        if failures:
            raise UnreadableImagesError(failures)
        self.decoded += [self.numbers[row] for row in rows]
        return np.stack([image(self.numbers[row]) for row in rows])


def image(number: int) -> UInt8Array:
    return np.random.default_rng(number).integers(0, 256, SHAPE, dtype=np.uint8)


def digests(numbers: list[int]) -> UInt8Array:
    return np.stack([np.random.default_rng((7, n)).integers(0, 256, 16, dtype=np.uint8) for n in numbers])


def cached(source: CountingSource, folder: Path, rows_per_segment: int = 4) -> CachedRows:
    return CachedRows(source, digests(source.numbers), folder, rows_per_segment * int(np.prod(SHAPE)))


def read_all(pixels: CachedRows) -> None:
    numbers = pixels._source.numbers  # type: ignore[attr-defined]
    rows = np.random.default_rng(1).permutation(len(numbers))
    for part in np.array_split(rows, min(5, len(rows))):
        np.testing.assert_array_equal(pixels.read(part), np.stack([image(numbers[row]) for row in part]))


def test_a_second_reader_decodes_nothing(tmp_path: Path) -> None:
    first = cached(CountingSource(list(range(22))), tmp_path / "c")
    read_all(first)
    first.flush()
    source = CountingSource(list(range(22)))
    second = cached(source, tmp_path / "c")
    assert second.missing == 0
    read_all(second)
    assert source.decoded == []


def test_each_image_is_decoded_once_by_one_reader(tmp_path: Path) -> None:
    source = CountingSource(list(range(10)))
    pixels = cached(source, tmp_path / "c")
    for _ in range(3):
        read_all(pixels)
    assert sorted(source.decoded) == list(range(10))


def test_rows_are_found_by_content_in_another_order_and_a_grown_pool(tmp_path: Path) -> None:
    first = cached(CountingSource(list(range(9))), tmp_path / "c")
    read_all(first)
    first.flush()
    source = CountingSource([30, 8, 3, 31, 0])
    second = cached(source, tmp_path / "c")
    read_all(second)
    assert sorted(source.decoded) == [30, 31]


def test_repeated_rows_in_one_read(tmp_path: Path) -> None:
    pixels = cached(CountingSource([4, 5]), tmp_path / "c")
    rows = np.array([1, 1, 0, 1])
    for _ in range(2):
        np.testing.assert_array_equal(pixels.read(rows), np.stack([image(n) for n in (5, 5, 4, 5)]))


def test_unflushed_images_are_lost_without_harm(tmp_path: Path) -> None:
    read_all(cached(CountingSource([1, 2, 3]), tmp_path / "c"))
    assert not (tmp_path / "c").exists()
    source = CountingSource([1, 2, 3])
    read_all(cached(source, tmp_path / "c"))
    assert sorted(source.decoded) == [1, 2, 3]


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "garbage", "delete"])
def test_damage_is_noticed_and_decoded_again(tmp_path: Path, damage: str) -> None:
    first = cached(CountingSource(list(range(12))), tmp_path / "c")
    read_all(first)
    first.flush()
    victim = sorted((tmp_path / "c").iterdir())[0]
    data = bytearray(victim.read_bytes())
    if damage == "delete":
        victim.unlink()
    elif damage == "flip":
        data[-7] ^= 1
        victim.write_bytes(data)
    else:
        victim.write_bytes({"truncate": bytes(data[:-30]), "empty": b"", "garbage": b"\xff" * len(data)}[damage])
    source = CountingSource(list(range(12)))
    read_all(cached(source, tmp_path / "c"))
    assert 1 <= len(source.decoded) < 12, "only what was damaged is decoded again"


def test_a_file_deleted_while_open_is_decoded_again(tmp_path: Path) -> None:
    source = CountingSource([1, 2, 3, 4])
    pixels = cached(source, tmp_path / "c")
    read_all(pixels)
    for path in (tmp_path / "c").iterdir():
        path.unlink()
    read_all(pixels)
    assert sorted(source.decoded) == [1, 1, 2, 2, 3, 3, 4, 4]


def test_segments_of_another_size_are_ignored(tmp_path: Path) -> None:
    first = cached(CountingSource([1, 2]), tmp_path / "c")
    read_all(first)
    first.flush()

    class Larger(CountingSource):
        shape = (6, 4, 3)

        def read(self, rows: IntArray) -> UInt8Array:
            self.decoded += [self.numbers[row] for row in rows]
            return np.zeros((len(rows), *self.shape), np.uint8)

    source = Larger([1, 2])
    CachedRows(source, digests([1, 2]), tmp_path / "c").read(np.array([0, 1]))
    assert sorted(source.decoded) == [1, 2]


def test_failures_of_the_source_pass_through(tmp_path: Path) -> None:
    pixels = cached(CountingSource([1, 2, 3], frozenset({2})), tmp_path / "c")
    with pytest.raises(UnreadableImagesError) as caught:
        pixels.read(np.array([0, 1, 2]))
    assert [failure.row for failure in caught.value.failures] == [1]


def test_the_stated_size_is_the_size_on_disk(tmp_path: Path) -> None:
    pixels = cached(CountingSource(list(range(40))), tmp_path / "c", rows_per_segment=40)
    read_all(pixels)
    pixels.flush()
    actual = sum(path.stat().st_size for path in (tmp_path / "c").iterdir())
    assert actual == pytest.approx(cache_bytes(40, RowFormat(SHAPE)), abs=500)


def test_an_image_that_was_damaged_is_added_once(tmp_path: Path) -> None:
    first = cached(CountingSource([1, 2, 3, 4]), tmp_path / "c")
    read_all(first)
    (victim,) = (tmp_path / "c").iterdir()
    data = bytearray(victim.read_bytes())
    data[-7] ^= 1
    victim.write_bytes(data)
    decoded = []
    for _ in range(3):
        source = CountingSource([1, 2, 3, 4])
        pixels = cached(source, tmp_path / "c")
        read_all(pixels)
        pixels.flush()
        decoded.append(len(source.decoded))
    assert decoded == [1, 0, 0]
    assert len(list((tmp_path / "c").iterdir())) == 2


def test_pixels_of_another_image_are_not_taken_for_it(tmp_path: Path) -> None:
    first = cached(CountingSource([1, 2, 3, 4]), tmp_path / "c")
    read_all(first)
    (victim,) = (tmp_path / "c").iterdir()
    data = victim.read_bytes()
    one, two = (digests([number]).tobytes() for number in (1, 2))
    swapped = data.replace(one, b"?" * 16).replace(two, one).replace(b"?" * 16, two)
    assert swapped != data
    victim.write_bytes(swapped)
    source = CountingSource([1, 2, 3, 4])
    read_all(cached(source, tmp_path / "c"))
    assert sorted(source.decoded) == [1, 2]


def test_what_cannot_be_written_is_read_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(row_cache, "write_segment", full)
    source = CountingSource(list(range(9)))
    pixels = cached(source, tmp_path / "c")
    for _ in range(2):
        read_all(pixels)
    assert pixels.problem is not None
    assert pixels.problem.errno == errno.ENOSPC
    assert not list((tmp_path / "c").iterdir())


def test_a_reader_that_must_not_write_adds_nothing(tmp_path: Path) -> None:
    source = CountingSource(list(range(9)))
    pixels = CachedRows(source, digests(source.numbers), tmp_path / "c", 180, writable=False)
    read_all(pixels)
    pixels.flush()
    assert not (tmp_path / "c").exists()


def test_threads_share_one_object(tmp_path: Path) -> None:
    numbers = list(range(60))
    pixels = cached(CountingSource(numbers), tmp_path / "c", rows_per_segment=7)
    wrong: list[int] = []

    def work(seed: int) -> None:
        rows = np.random.default_rng(seed).integers(0, 60, 300)
        found = [pixels.read(np.array([row]))[0] for row in rows]
        wrong.extend(int(row) for row, one in zip(rows, found, strict=True) if not np.array_equal(one, image(int(row))))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    pixels.flush()
    assert cached(CountingSource(numbers), tmp_path / "c").missing == 0


def test_the_folder_is_named_after_everything_that_changes_pixels() -> None:
    formats = [
        ((8, 6), "pad", (0, 0, 0)),
        ((6, 8), "pad", (0, 0, 0)),
        ((8, 6), "crop", (0, 0, 0)),
        ((8, 6), "pad", (0, 0, 1)),
        ((8, 6), "pad", (0, 0, 0), 0.875),
        ((8, 6), "pad", (0, 0, 0), 0.875, "bicubic"),
        ((8, 6), "pad", (0, 0, 0), 1.0, "bicubic"),
    ]
    assert cache_name((8, 6), "pad", (0, 0, 0)) == fingerprint(1, (8, 6), "pad", (0, 0, 0)), "old caches are lost"
    assert len({cache_name(*one) for one in formats}) == len(formats)
