import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dalcli.data import file_pixels
from dalcli.data.decoding import decode
from dalcli.data.file_pixels import FilePixels
from dalcli.data.pixels import PixelSource, UnreadableImagesError

ROOM_FOR_ALL, NO_ROOM = 2**20, 0


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    result = []
    for index in range(12):
        path = tmp_path / f"{index}.png"
        Image.fromarray(rng.integers(0, 256, (10 + index, 14, 3), dtype=np.uint8)).save(path)
        result.append(path)
    return result


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every path that is decoded from now on."""
    calls: list[Path] = []

    def counting(path: Path, *args: object, **options: object) -> np.ndarray:
        calls.append(path)
        return decode(path, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(file_pixels, "decode", counting)
    return calls


@pytest.mark.parametrize("limit", [ROOM_FOR_ALL, NO_ROOM])
def test_rows_come_in_the_order_asked_for(paths: list[Path], limit: int) -> None:
    source: PixelSource = FilePixels(paths, (8, 6), "pad", (0, 0, 0), workers=2, memory_limit_bytes=limit)
    assert source.shape == (8, 6, 3)
    assert len(source) == 12
    rows = np.array([3, 0, 11, 3, 3, 7])
    pixels = source.read(rows)
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, np.stack([decode(paths[row], (8, 6), "pad", (0, 0, 0)) for row in rows]))


def test_options_reach_the_decoder(tmp_path: Path) -> None:
    path = tmp_path / "clear.png"
    Image.new("RGBA", (8, 4), (0, 0, 0, 0)).save(path)
    (pixels,) = FilePixels([path], (8, 8), "pad", (10, 20, 30)).read(np.array([0]))
    assert pixels[4].tolist() == [[10, 20, 30]] * 8
    assert pixels[0].tolist() == [[0, 0, 0]] * 8
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)).save(path)
    (pixels,) = FilePixels([path], (8, 8), "crop", (0, 0, 0), 0.5, "bicubic").read(np.array([0]))
    assert np.array_equal(pixels, decode(path, (8, 8), "crop", crop_fraction=0.5, interpolation="bicubic"))
    assert not np.array_equal(pixels, decode(path, (8, 8), "crop", interpolation="bicubic"))
    assert not np.array_equal(pixels, decode(path, (8, 8), "crop", crop_fraction=0.5))


def test_what_fits_is_decoded_once(paths: list[Path], decoded: list[Path]) -> None:
    source = FilePixels(paths, (8, 6), memory_limit_bytes=12 * 8 * 6 * 3)
    first = source.read(np.array([1, 2, 2]))
    assert sorted(decoded) == paths[1:3]
    second = source.read(np.arange(12))
    assert sorted(decoded) == sorted(paths)
    assert np.array_equal(second[[1, 2, 2]], first)


def test_what_does_not_fit_is_decoded_each_time_but_once_per_read(paths: list[Path], decoded: list[Path]) -> None:
    source = FilePixels(paths, (8, 6), memory_limit_bytes=12 * 8 * 6 * 3 - 1)
    for times in (1, 2):
        source.read(np.array([5, 4, 5]))
        assert sorted(decoded) == sorted([paths[4], paths[5]] * times)


@pytest.mark.parametrize("limit", [ROOM_FOR_ALL, NO_ROOM])
def test_the_caller_owns_the_result(paths: list[Path], limit: int) -> None:
    source = FilePixels(paths, (8, 6), memory_limit_bytes=limit)
    expected = source.read(np.arange(12)).copy()
    source.read(np.arange(12))[:] = 0
    assert np.array_equal(source.read(np.arange(12)), expected)


@pytest.mark.parametrize("limit", [ROOM_FOR_ALL, NO_ROOM])
def test_all_failures_of_a_read_come_together(paths: list[Path], limit: int, decoded: list[Path]) -> None:
    paths[2].unlink()
    paths[5].write_bytes(paths[5].read_bytes()[:60])
    source = FilePixels(paths, (8, 6), memory_limit_bytes=limit)
    with pytest.raises(UnreadableImagesError) as caught:
        source.read(np.array([5, 1, 2, 0, 2]))
    failures = {(failure.row, failure.path, failure.missing) for failure in caught.value.failures}
    assert failures == {(2, str(paths[2]), True), (5, str(paths[5]), False)}
    assert len(caught.value.failures) == 2
    assert all(failure.reason for failure in caught.value.failures)
    good = source.read(np.array([1, 0]))
    assert np.array_equal(good[0], decode(paths[1], (8, 6)))


def test_an_image_that_failed_is_tried_again(paths: list[Path]) -> None:
    content = paths[2].read_bytes()
    paths[2].unlink()
    source = FilePixels(paths, (8, 6))
    with pytest.raises(UnreadableImagesError):
        source.read(np.array([2]))
    paths[2].write_bytes(content)
    assert np.array_equal(source.read(np.array([2]))[0], decode(paths[2], (8, 6)))


@pytest.mark.parametrize("limit", [ROOM_FOR_ALL, NO_ROOM])
def test_nothing_to_read(paths: list[Path], limit: int) -> None:
    assert FilePixels(paths, (8, 6), memory_limit_bytes=limit).read(np.array([], np.int64)).shape == (0, 8, 6, 3)
    assert FilePixels([], (8, 6), memory_limit_bytes=limit).read(np.array([], np.int64)).shape == (0, 8, 6, 3)


@pytest.mark.parametrize("row", [-1, 12])
def test_rows_outside_are_refused(paths: list[Path], row: int) -> None:
    with pytest.raises(IndexError, match="within 0 to 11"):
        FilePixels(paths, (8, 6)).read(np.array([0, row]))


def test_a_reader_and_a_prefetcher_may_work_at_once(paths: list[Path]) -> None:
    expected = np.stack([decode(path, (8, 6)) for path in paths])
    for _ in range(20):
        source = FilePixels(paths, (8, 6), workers=2)
        results: list[bool] = []

        def work(seed: int, source: FilePixels = source, results: list[bool] = results) -> None:
            rows = np.random.default_rng(seed).permutation(12)
            results.append(np.array_equal(source.read(rows), expected[rows]))

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [True, True]
