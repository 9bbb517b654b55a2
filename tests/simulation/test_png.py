"""Our PNG files: right, and always the same bytes."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from dalcli.simulation.png import encode


@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (5, 7, 3), (200, 150, 3), (300, 300)])
def test_pillow_reads_back_the_same_pixels(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    with Image.open(io.BytesIO(encode(pixels))) as image:
        image.load()
        assert image.mode == ("RGB" if len(shape) == 3 else "L")
        assert np.array_equal(np.asarray(image), pixels)


def test_bytes_are_fixed_for_ever() -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    digest = hashlib.sha256(encode(pixels)).hexdigest()
    assert digest == "664fc93c785dc4c415cee8fde6f7e0ff2c0a5d5b706c8654bde19c935862dceb"


@pytest.mark.parametrize(
    "pixels", [np.zeros((0, 4), np.uint8), np.zeros((4, 4), np.float64), np.zeros((4, 4, 4), np.uint8)]
)
def test_what_is_no_image_is_refused(pixels: np.ndarray) -> None:  # type: ignore[type-arg]
    with pytest.raises(ValueError, match="not an image"):
        encode(pixels)
