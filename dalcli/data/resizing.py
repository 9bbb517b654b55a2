"""From an image of any size and orientation to the height and width that the model takes.

Everything is done with Pillow's bilinear or bicubic filter, which average over the whole source area when they shrink
(antialiasing). A *region* is the part of the pixels that is image, as (left, top, right, bottom) in fractions of
pixels: a JPEG decoded at 1/8 of its size ends in the middle of its last pixel.
"""

from __future__ import annotations

from typing import Literal

from PIL import Image

Resize = Literal["stretch", "crop", "pad"]
Interpolation = Literal["bilinear", "bicubic"]
Region = tuple[float, float, float, float]

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
_OPERATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SWAPS_SIDES = frozenset({5, 6, 7, 8})
_MIRRORS_HORIZONTALLY = frozenset({2, 3, 6, 7})
_MIRRORS_VERTICALLY = frozenset({3, 4, 7, 8})


def swaps_sides(orientation: int) -> bool:
    """Whether width and height change places under an EXIF orientation."""
    return orientation in _SWAPS_SIDES


def upright(image: Image.Image, region: Region, orientation: int) -> tuple[Image.Image, Region]:
    """Apply an EXIF orientation (1 to 8; anything else counts as 1) to an image and its region."""
    if orientation not in _OPERATIONS:
        return image, region
    turned = image.transpose(_OPERATIONS[orientation])
    left, top, right, bottom = region
    if orientation in _SWAPS_SIDES:
        left, top, right, bottom = top, left, bottom, right
    if orientation in _MIRRORS_HORIZONTALLY:
        left, right = turned.width - right, turned.width - left
    if orientation in _MIRRORS_VERTICALLY:
        top, bottom = turned.height - bottom, turned.height - top
    return turned, (left, top, right, bottom)


def fit(
    image: Image.Image,
    region: Region,
    size: tuple[int, int],
    resize: Resize,
    crop_fraction: float = 1.0,
    interpolation: Interpolation = "bilinear",
) -> Image.Image:
    """The region of an RGB image at ``size`` = (height, width).

    stretch: the whole region, aspect ratio lost. crop: the shorter side fits, the centre is kept. pad: the longer
    side fits, centred on black. Whichever it is, only the central ``crop_fraction`` (above 0, at most 1) of either
    side is looked at: the usual "shorter side to 256, then the central 224" is crop with 224/256 to 224, in one go.
    """
    height, width = size
    region = _central(region, crop_fraction)
    resampling = _FILTERS[interpolation]
    if resize == "stretch":
        return _scaled(image, region, width, height, resampling)
    if resize == "crop":
        return _scaled(image, _centre(region, width, height), width, height, resampling)
    if resize == "pad":
        return _padded(image, region, width, height, resampling)
    raise ValueError(f"unknown resize mode {resize!r}")


def _central(region: Region, fraction: float) -> Region:
    """The central ``fraction`` of either side of a region."""
    if fraction == 1:  # not even rounding may move its edges
        return region
    if not 0 < fraction < 1:
        raise ValueError(f"crop_fraction must be above 0 and at most 1, not {fraction}")
    left, top, right, bottom = region
    margin_x = (right - left) * (1 - fraction) / 2
    margin_y = (bottom - top) * (1 - fraction) / 2
    return left + margin_x, top + margin_y, right - margin_x, bottom - margin_y


def _centre(region: Region, width: int, height: int) -> Region:
    """The largest centred part of a region with the aspect ratio ``width`` : ``height``."""
    left, top, right, bottom = region
    scale = max(width / (right - left), height / (bottom - top))
    margin_x = max(0.0, (right - left - width / scale) / 2)
    margin_y = max(0.0, (bottom - top - height / scale) / 2)
    return left + margin_x, top + margin_y, right - margin_x, bottom - margin_y


def _padded(image: Image.Image, region: Region, width: int, height: int, resampling: Image.Resampling) -> Image.Image:
    left, top, right, bottom = region
    scale = min(width / (right - left), height / (bottom - top))
    inner_width = min(width, max(1, round((right - left) * scale)))
    inner_height = min(height, max(1, round((bottom - top) * scale)))
    canvas = Image.new("RGB", (width, height))
    inner = _scaled(image, region, inner_width, inner_height, resampling)
    canvas.paste(inner, ((width - inner_width) // 2, (height - inner_height) // 2))
    return canvas


def _scaled(image: Image.Image, region: Region, width: int, height: int, resampling: Image.Resampling) -> Image.Image:
    return image.resize((width, height), resampling, box=region)
