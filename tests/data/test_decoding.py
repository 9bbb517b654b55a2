import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from dalcli.data import decoding
from dalcli.data.decoding import DecodeError, decode, image_extensions, is_image_file, probe, readable_formats


def noise(height: int, width: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def photo_like(height: int, width: int) -> Image.Image:
    """Smooth structure at several scales with sensor-like noise on top."""
    rng = np.random.default_rng(1)
    total = np.zeros((height, width, 3))
    for size, amplitude in ((4, 60), (16, 40), (64, 25), (256, 15)):
        small = Image.fromarray((rng.random((size, size, 3)) * 255).astype(np.uint8))
        total += amplitude * (np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)) / 127.5 - 1)
    return Image.fromarray((128 + total + rng.normal(0, 4, total.shape)).clip(0, 255).astype(np.uint8))


def file_bytes(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def oriented(image: Image.Image, orientation: int) -> Image.Exif:
    exif = image.getexif()
    exif[0x0112] = orientation
    return exif


# By the EXIF standard: which side of the displayed image the stored row 0 and column 0 are.
DISPLAYED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
    8: lambda a: a.swapaxes(0, 1)[::-1],
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_exif_rotation_is_applied_exactly(orientation: int, kind: str) -> None:
    image = noise(5, 7)
    options = {"lossless": True} if kind == "WEBP" else {}
    data = file_bytes(image, kind, exif=oriented(image, orientation), **options)
    expected = DISPLAYED[orientation](np.asarray(image))
    assert np.array_equal(decode(data), expected)
    assert probe(data) == (expected.shape[1], expected.shape[0], "RGB")


@pytest.mark.parametrize("mode", ["L", "I;16", "P", "RGBA", "CMYK"])
def test_exif_rotation_works_in_every_mode(mode: str) -> None:
    image = Image.fromarray(np.arange(6, dtype=np.uint16).reshape(2, 3) * 257) if mode == "I;16" else noise(2, 3)
    image = image if mode == "I;16" else image.convert(mode)
    plain = decode(file_bytes(image, "TIFF"))
    turned = decode(file_bytes(image, "TIFF", exif=oriented(image, 6)))
    assert np.array_equal(turned, DISPLAYED[6](plain))


@pytest.mark.parametrize("orientation", [0, 9, 4000])
def test_impossible_orientations_mean_upright(orientation: int) -> None:
    image = noise(4, 6)
    assert np.array_equal(decode(file_bytes(image, exif=oriented(image, orientation))), np.asarray(image))


@pytest.mark.filterwarnings("ignore::UserWarning")  # outside pytest the module silences Pillow itself
def test_damaged_metadata_do_not_cost_the_image() -> None:
    image = noise(8, 8)
    for exif in (b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\x7f", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12"):
        assert decode(file_bytes(image, "JPEG", exif=exif)).shape == (8, 8, 3)


def test_a_file_and_its_bytes_decode_alike(tmp_path: Path) -> None:
    file = tmp_path / "odd näme\n.png"
    file.write_bytes(file_bytes(noise(4, 6)))
    assert np.array_equal(decode(file), np.asarray(noise(4, 6)))


def test_the_result_is_writable_and_contiguous() -> None:
    pixels = decode(file_bytes(noise(4, 6)))
    assert pixels.flags.writeable
    assert pixels.flags.c_contiguous
    assert pixels.dtype == np.uint8


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "TGA"])
@pytest.mark.parametrize("fraction", [0.3, 0.6, 0.95])
def test_truncated_files_are_errors(kind: str, fraction: float) -> None:
    data = file_bytes(noise(40, 60), kind)
    cut = data[: int(len(data) * fraction)]
    with pytest.raises(DecodeError):
        decode(cut)
    with pytest.raises(DecodeError):
        decode(cut, (8, 8))
    with pytest.raises(DecodeError):
        probe(cut)


def test_nobody_switched_truncated_files_on() -> None:
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_a_damaged_png_is_an_error() -> None:
    data = bytearray(file_bytes(noise(20, 20)))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(DecodeError):
        decode(bytes(data))


@pytest.mark.parametrize("data", [b"\0", b"hello world\n", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"P6 4 4"])
def test_what_is_no_image_is_an_error(data: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        probe(data)
    assert caught.value.reason
    assert "0x" not in caught.value.reason  # no addresses: the same file gives the same reason in every run


def test_reasons_are_short_and_plain() -> None:
    with pytest.raises(DecodeError, match=r"^empty file$"):
        decode(b"")
    with pytest.raises(DecodeError, match=r"^not an image in a known format$"):
        decode(b"a,b\n1,2\n")


@given(st.binary(max_size=200), st.sampled_from(["JPEG", "PNG", "GIF", "TIFF", "BMP", "WEBP"]), st.integers(0, 2**16))
@settings(max_examples=150, deadline=None)
@pytest.mark.filterwarnings("ignore")
def test_damage_of_any_kind_is_an_image_or_a_decode_error(damage: bytes, kind: str, place: int) -> None:
    data = bytearray(file_bytes(noise(9, 11), kind))
    place %= len(data)
    data[place : place + len(damage)] = damage
    try:
        pixels = decode(bytes(data))
    except DecodeError:
        return
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3


def png_claiming(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [9460, 13_000, 60_000])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_decompression_bombs_are_errors(side: int) -> None:
    with pytest.raises(DecodeError, match="bomb"):
        decode(png_claiming(side, side), (8, 8))
    with pytest.raises(DecodeError, match="bomb"):
        probe(png_claiming(side, side))


def test_missing_files_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match=r"^no such file$") as caught:
        decode(tmp_path / "gone.png")
    assert caught.value.missing
    (tmp_path / "link.png").symlink_to("nowhere.png")
    with pytest.raises(DecodeError, match=r"^broken symbolic link$") as caught:
        decode(tmp_path / "link.png")
    assert caught.value.missing


def test_folders_and_pipes_are_no_images(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")  # opening it would block forever
    for name in ("folder.png", "pipe.png"):
        with pytest.raises(DecodeError, match=r"^not a regular file$") as caught:
            decode(tmp_path / name)
        assert not caught.value.missing


def test_a_file_that_may_not_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "secret.png"
    file.write_bytes(file_bytes(noise(2, 2)))

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # chmod does not stop root
    with pytest.raises(DecodeError, match=r"^Permission denied$"):
        decode(file)


def test_a_huge_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MAX_FILE_BYTES", 1000)
    file = tmp_path / "huge.png"
    file.write_bytes(file_bytes(noise(2, 2)).ljust(1001, b"\0"))
    with pytest.raises(DecodeError, match="too many"):
        decode(file)


def test_formats_that_need_other_programs_are_left_out() -> None:
    assert {"PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"} <= set(readable_formats())
    assert {".png", ".jpg", ".jpeg", ".jfif", ".tif", ".tiff", ".webp", ".bmp", ".gif", ".ppm"} <= image_extensions()
    assert not {".eps", ".ps", ".pdf", ".h5", ".mpg", ".txt", ".csv"} & image_extensions()
    with pytest.raises(DecodeError, match="known format"):
        decode(file_bytes(noise(4, 4), "EPS"))


def test_images_are_recognised_by_content(tmp_path: Path) -> None:
    (tmp_path / "photo").write_bytes(file_bytes(noise(4, 4)))
    (tmp_path / "table").write_text("path,label\na.png,cat\n")
    assert is_image_file(tmp_path / "photo")
    assert not is_image_file(tmp_path / "table")
    assert not is_image_file(tmp_path / "gone")


def test_large_jpegs_decode_at_reduced_size_without_a_visible_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    image = photo_like(1203, 1607)  # not divisible by 8: the reduced image ends within a pixel
    for orientation in (1, 3, 6, 8):
        data = file_bytes(image, "JPEG", quality=92, exif=oriented(image, orientation))
        for resize in ("stretch", "crop", "pad"):
            fast = decode(data, (48, 40), resize).astype(int)
            with monkeypatch.context() as patch:
                patch.setattr(decoding, "_draft", lambda *_: None)
                full = decode(data, (48, 40), resize)
            difference = abs(fast - full)
            assert difference.max() > 0, "the reduced decode was not used"
            assert difference.mean() < 0.3
            assert np.quantile(difference, 0.99) <= 1


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_a_crop_of_a_large_jpeg_is_drafted_as_little(interpolation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kept part has its four-fold margin: half the image to 48 pixels is drafted like the whole to 96."""
    data = file_bytes(photo_like(1203, 1607), "JPEG", quality=92)
    fast = decode(data, (48, 40), "crop", crop_fraction=0.5, interpolation=interpolation).astype(int)  # type: ignore[arg-type]
    drafts = []
    with monkeypatch.context() as patch:
        patch.setattr(decoding.JpegImageFile, "draft", lambda _, __, size: drafts.append(size))
        full = decode(data, (48, 40), "crop", crop_fraction=0.5, interpolation=interpolation)  # type: ignore[arg-type]
    assert drafts == [(320, 384)]
    difference = abs(fast - full)
    assert difference.max() > 0, "the reduced decode was not used"
    assert difference.mean() < 0.3
    assert np.quantile(difference, 0.99) <= 1


def test_pillows_warnings_do_not_reach_the_screen(tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(png_claiming(9460, 9460))
    (tmp_path / "exif.jpg").write_bytes(
        file_bytes(noise(8, 8), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12")
    )
    program = (
        "import sys; from pathlib import Path; from dalcli.data.scan import scan_image; "
        "from dalcli.data.found import FoundImage\n"
        "for name in sys.argv[1:]: print(scan_image(FoundImage(Path(name))).problem is None)\n"
        "print('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "bomb.png"), str(tmp_path / "exif.jpg")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "True", "False"]
    assert result.stderr == ""
