import io

import numpy as np
import pytest
from PIL import Image

from dalcli.data.decoding import DecodeError, decode


def file_bytes(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def greys(pixels: np.ndarray) -> list[int]:
    """The grey values of a one-row grey image given as RGB."""
    assert (pixels == pixels[..., :1]).all()
    return pixels[0, :, 0].tolist()


def row(values: list[object], mode: str) -> Image.Image:
    image = Image.new(mode, (len(values), 1))
    image.putdata(values)
    return image


def test_grey_is_repeated() -> None:
    assert greys(decode(file_bytes(row([0, 1, 128, 255], "L")))) == [0, 1, 128, 255]


def test_rgb_is_taken_as_it_is() -> None:
    colours = [(1, 2, 3), (255, 0, 7)]
    assert decode(file_bytes(row(colours, "RGB")))[0].tolist() == [list(colour) for colour in colours]


def test_one_bit_is_black_and_white() -> None:
    assert greys(decode(file_bytes(row([0, 255, 255, 0], "1")))) == [0, 255, 255, 0]


WIDE = [0, 128, 129, 257, 300, 385, 386, 25700, 65406, 65407, 65535]
NARROW = [0, 0, 1, 1, 1, 1, 2, 100, 254, 255, 255]


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM", "JPEG2000"])
def test_16_bit_grey_is_divided_by_257_and_never_clipped(kind: str) -> None:
    assert greys(decode(file_bytes(Image.fromarray(np.array([WIDE], np.uint16)), kind))) == NARROW


def test_big_endian_16_bit_grey_is_the_same() -> None:
    values = np.array([WIDE], np.uint16)
    image = Image.frombytes("I;16B", (len(WIDE), 1), values.astype(">u2").tobytes())
    data = file_bytes(image, "TIFF")
    with Image.open(io.BytesIO(data)) as stored:
        assert stored.mode == "I;16B"
    assert greys(decode(data)) == NARROW


def test_32_bit_integers_within_16_bits_are_16_bit_values() -> None:
    assert greys(decode(file_bytes(Image.fromarray(np.array([WIDE], np.int32)), "TIFF"))) == NARROW


@pytest.mark.parametrize("values", [[0, 65536, 131072], [-100, 0, 100], [-5, -5, -5]])
def test_other_integers_are_stretched(values: list[int]) -> None:
    expected = [0, 0, 0] if values[0] == values[2] else [0, 128, 255]
    assert greys(decode(file_bytes(Image.fromarray(np.array([values], np.int32)), "TIFF"))) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.25, 1.0], [0, 64, 255]),
        ([0.0, 0.0, 0.0], [0, 0, 0]),
        ([0.0, 1.5, 100.4], [0, 2, 100]),
        ([0.0, 257.0, 25700.0], [0, 1, 100]),
        ([-1.0, 0.0, 1.0], [0, 128, 255]),
        ([0.0, 1e30, 2e30], [0, 128, 255]),
    ],
)
def test_floats_take_the_first_scale_that_holds_them(values: list[float], expected: list[int]) -> None:
    assert greys(decode(file_bytes(Image.fromarray(np.array([values], np.float32)), "TIFF"))) == expected


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_floats_that_are_no_numbers_are_refused(bad: float) -> None:
    with pytest.raises(DecodeError, match="not finite"):
        decode(file_bytes(Image.fromarray(np.array([[0.5, bad]], np.float32)), "TIFF"))


def test_alpha_is_composited_on_the_configured_colour() -> None:
    data = file_bytes(row([(10, 20, 30, 255), (10, 20, 30, 0), (10, 20, 30, 128)], "RGBA"))
    on_white, on_colour = decode(data)[0], decode(data, alpha_background=(200, 100, 0))[0]
    assert on_white[:2].tolist() == [[10, 20, 30], [255, 255, 255]]
    assert on_colour[:2].tolist() == [[10, 20, 30], [200, 100, 0]]
    for pixels, background in ((on_white, (255, 255, 255)), (on_colour, (200, 100, 0))):
        exact = (np.array([10, 20, 30]) * 128 + np.array(background) * 127) / 255
        assert abs(pixels[2] - exact).max() <= 1


def test_grey_with_alpha() -> None:
    data = file_bytes(row([(7, 255), (7, 0)], "LA"))
    assert greys(decode(data)) == [7, 255]
    assert greys(decode(data, alpha_background=(0, 0, 0))) == [7, 0]


@pytest.mark.parametrize("kind", ["PNG", "GIF", "TIFF", "BMP"])
def test_palette_without_transparency(kind: str) -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 0, 255, 0, 9, 8, 7])
    image.putdata([2, 0, 1])
    assert decode(file_bytes(image, kind))[0].tolist() == [[9, 8, 7], [255, 0, 0], [0, 255, 0]]


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_palette_with_a_transparent_entry(kind: str) -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 0, 255, 0, 9, 8, 7])
    image.putdata([2, 0, 1])
    data = file_bytes(image, kind, transparency=1)
    assert decode(data, alpha_background=(1, 2, 3))[0].tolist() == [[9, 8, 7], [255, 0, 0], [1, 2, 3]]


def test_palette_with_graded_transparency() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([200, 0, 0, 0, 200, 0])
    image.putdata([0, 1])
    pixels = decode(file_bytes(image, transparency=bytes([255, 51])), alpha_background=(0, 0, 0))[0].astype(int)
    assert pixels[0].tolist() == [200, 0, 0]
    assert abs(pixels[1] - [0, 40, 0]).max() <= 1


def test_a_png_colour_declared_transparent() -> None:
    assert decode(file_bytes(row([(1, 2, 3), (4, 5, 6)], "RGB"), transparency=(4, 5, 6)))[0].tolist() == [
        [1, 2, 3],
        [255, 255, 255],
    ]
    assert greys(decode(file_bytes(row([5, 6], "L"), transparency=5))) == [255, 6]
    assert greys(decode(file_bytes(row([0, 255], "1"), transparency=0), alpha_background=(9, 9, 9))) == [9, 255]


def test_a_16_bit_png_grey_declared_transparent_spares_its_neighbours() -> None:
    image = Image.fromarray(np.array([[2570, 2571, 0]], np.uint16))
    assert greys(decode(file_bytes(image, transparency=2571))) == [10, 255, 0]


def test_cmyk() -> None:
    data = file_bytes(row([(0, 0, 0, 0), (0, 0, 0, 255), (255, 0, 0, 0)], "CMYK"), "TIFF")
    assert decode(data)[0].tolist() == [[255, 255, 255], [0, 0, 0], [0, 255, 255]]


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK", "YCbCr"])
def test_jpeg_in_every_mode_is_close_to_the_original(mode: str) -> None:
    original = Image.new("RGB", (32, 32), (200, 120, 40))
    pixels = decode(file_bytes(original.convert(mode), "JPEG", quality=100)).astype(int)
    expected = np.asarray(original.convert(mode).convert("RGB")).astype(int)
    assert abs(pixels - expected).max() <= 3


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "PNG"])
def test_several_frames_give_the_first(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((250, 0, 0), (0, 250, 0), (0, 0, 250))]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = file_bytes(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert (decode(data) == [250, 0, 0]).all()
