import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dalcli.data.found import FoundImage
from dalcli.data.scan import ScannedImage, scan_images


def save(path: Path, height: int = 5, width: int = 7, mode: str = "RGB", **options: object) -> bytes:
    pixels = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path, **options)
    return path.read_bytes()


def test_a_sound_image(tmp_path: Path) -> None:
    content = save(tmp_path / "a.png", 5, 7, "L")
    found = FoundImage(tmp_path / "a.png", "cat")
    (scanned,) = scan_images([found])
    assert scanned == ScannedImage(
        found=found,
        sample_id=f"s-{hashlib.sha256(content).hexdigest()[:32]}",
        size=len(content),
        mtime_ns=(tmp_path / "a.png").stat().st_mtime_ns,
        width=7,
        height=5,
        mode="L",
    )


def test_sizes_are_as_displayed(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    save(tmp_path / "a.jpg", 5, 7, exif=exif)
    (scanned,) = scan_images([FoundImage(tmp_path / "a.jpg")])
    assert (scanned.width, scanned.height) == (5, 7)


def test_bad_files_have_a_problem_and_do_not_stop_the_scan(tmp_path: Path) -> None:
    content = save(tmp_path / "a.png", 50, 50)
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "link.png").symlink_to("nowhere")
    names = ["cut.png", "empty.png", "text.png", "folder.png", "gone.png", "link.png", "a.png"]
    scanned = list(scan_images([FoundImage(tmp_path / name) for name in names], workers=3))
    assert [image.found.path.name for image in scanned] == names
    assert [image.problem for image in scanned] == [
        "image file is truncated",
        "empty file",
        "not an image in a known format",
        "not a regular file",
        "no such file",
        "broken symbolic link",
        None,
    ]
    assert [image.sample_id is not None for image in scanned] == [True, True, True, False, False, False, True]
    assert [image.missing for image in scanned] == [False, False, False, False, True, True, False]
    assert scanned[0].sample_id == f"s-{hashlib.sha256(content[: len(content) // 2]).hexdigest()[:32]}"
    assert all(image.width is image.height is image.mode is None for image in scanned[:-1])


def test_files_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "a.png")
    opened: list[Path] = []
    original = Path.open

    def counting(self: Path, *args: object, **options: object) -> io.IOBase:
        opened.append(self)
        return original(self, *args, **options)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(Path, "open", counting)
    assert [image.problem for image in scan_images([FoundImage(tmp_path / "a.png")])] == [None]
    assert opened == [tmp_path / "a.png"]


def test_streams_in_order_and_counts(tmp_path: Path) -> None:
    for index in range(40):
        save(tmp_path / f"{index}.png", height=index + 1)
    drawn = 0

    def source() -> Iterator[FoundImage]:
        nonlocal drawn
        for index in range(40):
            drawn += 1
            yield FoundImage(tmp_path / f"{index}.png")

    done: list[int] = []
    results = scan_images(source(), workers=2, advance=done.append)
    assert next(results).height == 1
    assert drawn <= 9
    assert done == [1]
    assert [image.height for image in results] == list(range(2, 41))
    assert done == [1] * 40


def test_ctrl_c_in_the_progress_display_stops(tmp_path: Path) -> None:
    save(tmp_path / "a.png")

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(scan_images([FoundImage(tmp_path / "a.png")] * 100_000, advance=interrupt))
