import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as published

from dalcli.data.resizing import fit, upright


def triangle_resample(values: np.ndarray, size: int, start: float, stop: float) -> np.ndarray:
    """Antialiased bilinear resampling of [start, stop) along axis 0, straight from its definition, in float64.

    The filter sees pixels beside the region too: cropping while resizing is resizing, then cropping.
    """
    scale = (stop - start) / size
    support = max(scale, 1.0)
    result = np.zeros((size, *values.shape[1:]))
    centres = np.arange(len(values)) + 0.5
    for index in range(size):
        centre = start + (index + 0.5) * scale
        weights = np.maximum(0, 1 - abs(centres - centre) / support)
        result[index] = np.tensordot(weights / weights.sum(), values, axes=1)
    return result


def resampled(pixels: np.ndarray, height: int, width: int, region: tuple[float, float, float, float]) -> np.ndarray:
    left, top, right, bottom = region
    rows = triangle_resample(pixels.astype(float), height, top, bottom)
    return triangle_resample(rows.swapaxes(0, 1), width, left, right).swapaxes(0, 1)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth(height: int, width: int) -> Image.Image:
    """Colours that change over about a sixth of the image."""
    rows, columns = np.mgrid[:height, :width] / min(height, width)
    waves = [np.sin(7 * rows + 3 * columns + phase) * np.cos(6 * columns) for phase in (0, 1, 2)]
    return Image.fromarray((127.5 + 120 * np.stack(waves, axis=-1)).astype(np.uint8))


def fitted(pixels: np.ndarray, size: tuple[int, int], resize: str) -> np.ndarray:
    image = Image.fromarray(pixels)
    return np.asarray(fit(image, (0, 0, *image.size), size, resize))  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [(7, 9), (20, 30), (40, 50), (1, 1)])
def test_stretch_is_antialiased_bilinear_resampling(size: tuple[int, int]) -> None:
    pixels = noise(20, 30)
    assert abs(fitted(pixels, size, "stretch") - resampled(pixels, *size, (0, 0, 30, 20))).max() <= 1.01


def test_the_same_size_changes_nothing() -> None:
    pixels = noise(20, 30)
    for resize in ("stretch", "crop", "pad"):
        assert np.array_equal(fitted(pixels, (20, 30), resize), pixels)


@pytest.mark.parametrize("shape", [(40, 60), (60, 40)])
def test_crop_keeps_the_centre(shape: tuple[int, int]) -> None:
    pixels = noise(*shape)
    region = (10, 0, 50, 40) if shape == (40, 60) else (0, 10, 40, 50)
    assert abs(fitted(pixels, (8, 8), "crop") - resampled(pixels, 8, 8, region)).max() <= 1.01


def test_crop_in_whole_pixels_is_exact() -> None:
    pixels = noise(4, 10)
    assert np.array_equal(fitted(pixels, (4, 4), "crop"), pixels[:, 3:7])
    assert np.array_equal(fitted(pixels.swapaxes(0, 1).copy(), (4, 4), "crop"), pixels.swapaxes(0, 1)[3:7])


def test_pad_keeps_everything_on_black() -> None:
    pixels = noise(10, 20)
    padded = fitted(pixels, (20, 20), "pad")
    assert np.array_equal(padded[5:15], pixels)
    assert padded[:5].max() == 0
    assert padded[15:].max() == 0
    shrunk = fitted(pixels, (8, 8), "pad")
    assert abs(shrunk[2:6] - resampled(pixels, 4, 8, (0, 0, 20, 10))).max() <= 1.01
    assert shrunk[:2].max() == shrunk[6:].max() == 0


@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("shape", [(1, 500), (500, 1), (1, 1), (3, 1000), (333, 777)])
@pytest.mark.parametrize("size", [(1, 1), (32, 32), (7, 300), (300, 7)])
def test_every_shape_fits_every_size(resize: str, shape: tuple[int, int], size: tuple[int, int]) -> None:
    pixels = np.full((*shape, 3), 200, np.uint8)
    result = fitted(pixels, size, resize)
    assert result.shape == (*size, 3)
    assert set(np.unique(result)) <= ({0, 200} if resize == "pad" else {200})


@pytest.mark.parametrize("shape", [(1, 500), (1, 1), (333, 777)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_every_shape_fits_a_cropped_square(shape: tuple[int, int], interpolation: str) -> None:
    image = Image.fromarray(np.full((*shape, 3), 200, np.uint8))
    result = np.asarray(fit(image, (0, 0, *image.size), (32, 32), "crop", 0.875, interpolation))  # type: ignore[arg-type]
    assert set(np.unique(result)) == {200}


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("shape", [(512, 512), (512, 768), (256, 256), (33, 47), (301, 500), (640, 427)])
def test_one_resize_is_the_published_resize_and_crop(shape: tuple[int, int], interpolation: str) -> None:
    """Within one grey level where their crop falls on whole pixels; else theirs lies up to half a pixel beside."""
    image = smooth(*shape)
    theirs = published.resize(image, 256, InterpolationMode(interpolation))
    expected = np.asarray(published.center_crop(theirs, [224, 224])).astype(int)
    ours = np.asarray(fit(image, (0, 0, *image.size), (224, 224), "crop", 224 / 256, interpolation)).astype(int)  # type: ignore[arg-type]
    exact = theirs.width % 2 == 0 and theirs.height % 2 == 0 and min(shape) * max(theirs.size) == max(shape) * 256
    wider = np.asarray(fit(image, (0, 0, *image.size), (224, 224), "crop", 1.0, interpolation)).astype(int)  # type: ignore[arg-type]
    assert abs(wider - expected).mean() > 8, "the image does not tell crops apart"
    assert abs(ours - expected).max() <= (1 if exact else 4)
    assert abs(ours - expected).mean() <= (0.1 if exact else 1)


def test_the_fraction_counts_for_both_sides_in_every_mode() -> None:
    pixels = noise(40, 80)
    inner = pixels[10:30, 20:60]
    image = Image.fromarray(pixels)
    for resize in ("stretch", "crop", "pad"):
        whole = fit(image, (0, 0, 80, 40), (20, 40), resize, 0.5)  # type: ignore[arg-type]
        assert np.array_equal(np.asarray(whole), inner)


def test_a_fraction_outside_its_range_is_a_bug() -> None:
    for fraction in (0.0, -0.5, 1.01):
        with pytest.raises(ValueError, match="crop_fraction"):
            fit(Image.fromarray(noise(4, 4)), (0, 0, 4, 4), (2, 2), "crop", fraction)


def test_an_unknown_mode_is_a_bug() -> None:
    with pytest.raises(ValueError, match="resize mode"):
        fitted(noise(2, 2), (2, 2), "squeeze")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_region_turns_with_the_image(orientation: int) -> None:
    pixels = np.zeros((6, 9, 3), np.uint8)
    pixels[1:4, 2:7] = 255
    turned, (left, top, right, bottom) = upright(Image.fromarray(pixels), (2, 1, 7, 4), orientation)
    expected = np.zeros_like(np.asarray(turned))
    expected[int(top) : int(bottom), int(left) : int(right)] = 255
    assert np.array_equal(np.asarray(turned), expected)
