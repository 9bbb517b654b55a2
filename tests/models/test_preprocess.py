"""Pixel statistics and model inputs against numpy in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dalcli.data.pixels import ArrayPixels
from dalcli.models import preprocess
from dalcli.models.preprocess import PixelStats, measure, to_input

CPU = torch.device("cpu")


def images(count: int, height: int = 6, width: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def test_statistics_are_those_of_float64_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    array, rows = images(37), np.array([3, 3, 0, 36, 17, 5])
    expected = array[rows].astype(np.float64) / 255
    whole = measure(ArrayPixels(array), rows)
    np.testing.assert_allclose(whole.mean, expected.mean((0, 1, 2)), rtol=1e-14)
    np.testing.assert_allclose(whole.std, expected.std((0, 1, 2)), rtol=1e-12)
    monkeypatch.setattr(preprocess, "CHUNK_BYTES", 1)  # one image at a time
    assert measure(ArrayPixels(array), rows[::-1]) == whole


def test_a_channel_without_variation_is_not_divided_by_zero() -> None:
    array = images(4)
    array[..., 1] = 77
    stats = measure(ArrayPixels(array), np.arange(4))
    assert stats.std[1] == 1.0
    assert stats.mean[1] == pytest.approx(77 / 255)
    assert torch.isfinite(to_input(array, stats, CPU)).all()


def test_no_images_have_no_statistics() -> None:
    with pytest.raises(ValueError, match="no images"):
        measure(ArrayPixels(images(2)), np.array([], dtype=np.int64))


def test_inputs_are_normalised_channels_first_and_leave_the_bytes_alone() -> None:
    array = images(3)
    array.setflags(write=False)
    stats = PixelStats((0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    expected = ((array / 255 - np.array(stats.mean)) / np.array(stats.std)).transpose(0, 3, 1, 2)
    got = to_input(array, stats, CPU)
    assert got.shape == (3, 3, 6, 5)
    assert got.dtype == torch.float32
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-5, atol=1e-6)
    assert np.array_equal(array, images(3))
    assert to_input(array[:0], stats, CPU).shape == (0, 3, 6, 5)
