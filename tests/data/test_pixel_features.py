"""Features from pixels: area means, one contrast for all, principal components."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from sklearn.decomposition import PCA

from dalcli.data import pixel_features as module
from dalcli.data.pixel_features import COMPONENTS, PixelProjection, descriptions, images_at_once, reduced


def images(count: int, height: int = 20, width: int = 33, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def features(pixels: np.ndarray, sample: int | None = None, most: int = COMPONENTS) -> np.ndarray:
    projection = PixelProjection.of(np.concatenate([descriptions(block) for block in blocks(pixels[:sample])]), most)
    return np.concatenate([projection.features(descriptions(block)) for block in blocks(pixels)])


def blocks(pixels: np.ndarray) -> Iterator[np.ndarray]:
    size = images_at_once(pixels.shape[1:])
    return (pixels[start : start + size] for start in range(0, len(pixels), size))


@pytest.mark.parametrize(("height", "width"), [(48, 32), (20, 33), (16, 17), (7, 16), (5, 100), (1, 1)])
def test_pixels_are_means_of_areas(height: int, width: int) -> None:
    """Every pixel blown up until areas are whole numbers of pixels, and averaged."""
    pixels = images(3, height, width)
    rows, columns = min(16, height), min(16, width)
    large = np.repeat(np.repeat(pixels / 255.0, rows, axis=1), columns, axis=2)
    expected = large.reshape(3, rows, height, columns, width, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(reduced(pixels), expected, atol=1e-6)


def test_structure_does_not_know_brightness_and_contrast_and_colour_knows_no_structure() -> None:
    plain = images(1) // 4
    brighter, stronger = plain + 100, plain * 4
    split = 16 * 16 * 3
    base, bright, strong = (descriptions(part)[0] for part in (plain, brighter, stronger))
    np.testing.assert_allclose(base[:split], bright[:split], atol=1e-6)
    cosine = base[:split] @ strong[:split] / np.linalg.norm(base[:split]) / np.linalg.norm(strong[:split])
    assert cosine == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(bright[split:] - base[split:], 2 * 100 / 255, atol=1e-5)
    assert np.linalg.norm(strong[:split]) <= 1
    flat = descriptions(np.full((1, 9, 9, 3), 77, np.uint8))[0]
    np.testing.assert_allclose(flat[:-3], 0, atol=1e-6)


def test_components_are_those_of_pca() -> None:
    pixels = images(90)
    found = features(pixels, sample=70, most=5)
    described = descriptions(pixels).astype(np.float64)
    oracle = PCA(5, svd_solver="full").fit(described[:70])
    expected = oracle.transform(described)
    expected /= np.sqrt((expected[:70] ** 2).sum(axis=1).mean())
    np.testing.assert_allclose(np.abs(found[:, :-1]), np.abs(expected), atol=1e-4)
    np.testing.assert_array_equal(found[:, -1], 1)
    assert found.dtype == np.float32


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = images(40)
    whole = features(pixels, most=8)
    monkeypatch.setattr(module, "BLOCK_BYTES", 7 * 12 * 20 * 33)
    np.testing.assert_allclose(features(pixels, most=8), whole, atol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 20])
def test_few_images_have_few_components(count: int) -> None:
    found = features(images(count))
    assert found.shape == (count, min(COMPONENTS, count - 1) + 1)
    assert np.isfinite(found).all()


def test_equal_images_have_equal_features() -> None:
    found = features(np.repeat(images(1), 6, axis=0))
    assert found.shape == (6, 1)
    np.testing.assert_array_equal(found, 1)
