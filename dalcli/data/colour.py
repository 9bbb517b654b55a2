"""From any of Pillow's pixel modes to 8-bit RGB, without clipping and without guessing twice.

Colour profiles are ignored: numbers are taken as they are stored.

- 16 bits per pixel: divided by 257 and rounded, so 65535 becomes 255 (Pillow's own conversion clips at 255).
- 32-bit integers: taken as 16-bit values if all of them lie in 0..65535.
- Floating point: taken as 0..1, 0..255 or 0..65535, the first of them that holds all values of the image.
- Any other integers or floats: stretched linearly, the image's smallest value to 0 and its largest to 255.
- Transparency, however it is stored, is composited on a background colour.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Colour = tuple[int, int, int]

_FULL_SCALES = {"I": (65535.0,), "F": (1.0, 255.0, 65535.0)}


def to_rgb(image: Image.Image, background: Colour) -> Image.Image:
    """A loaded image as mode RGB; ValueError if its mode has no meaning as colour or it contains NaN or infinity."""
    if image.mode.startswith("I;16"):
        return _from_16_bit(image, background)
    if image.mode in _FULL_SCALES:
        return _grey(_to_8_bit(np.asarray(image), _FULL_SCALES[image.mode]))
    if image.has_transparency_data:
        return _composite(image, background)
    return image if image.mode == "RGB" else image.convert("RGB")


def _composite(image: Image.Image, background: Colour) -> Image.Image:
    if image.mode == "La":  # Pillow converts premultiplied grey only to its plain form
        image = image.convert("LA")
    canvas = Image.new("RGBA", image.size, (*background, 255))
    return Image.alpha_composite(canvas, image.convert("RGBA")).convert("RGB")


def _from_16_bit(image: Image.Image, background: Colour) -> Image.Image:
    values = np.asarray(image).astype(np.uint32)
    rgb = _grey(((values + 128) // 257).astype(np.uint8))
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):  # a PNG may declare one grey value transparent
        mask = Image.fromarray(((values == transparent) * np.uint8(255)).astype(np.uint8))
        rgb.paste(background, mask=mask)
    return rgb


def _to_8_bit(values: NDArray[np.int32] | NDArray[np.float32], full_scales: tuple[float, ...]) -> NDArray[np.uint8]:
    wide = values.astype(np.float64)
    if not np.isfinite(wide).all():
        raise ValueError("contains pixel values that are not finite numbers")
    low, high = float(wide.min()), float(wide.max())
    if low < 0 or high > full_scales[-1]:
        span = high - low if high > low else 1.0
        return np.rint((wide - low) * 255.0 / span).astype(np.uint8)
    full = next(scale for scale in full_scales if high <= scale)
    return np.rint(wide * 255.0 / full).astype(np.uint8)


def _grey(values: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(values).convert("RGB")
