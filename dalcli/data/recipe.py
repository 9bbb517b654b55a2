"""How a pretrained network wants its images: the recipe that came with its weights. Never imports torch."""

from __future__ import annotations

from dataclasses import dataclass

from dalcli.data.resizing import Interpolation, Resize


@dataclass(frozen=True)
class Recipe:
    """From an image of any size to what the network sees.

    Attributes:
        image_size: height and width of the input, in pixels.
        resize: stretch, crop or pad; see ``data.resizing``.
        crop_fraction: the central share of either side that is looked at: 224/256 where weights ask for a resize of the
            shorter side to 256 and a centre crop to 224.
        interpolation: how sizes are changed.
        mean, std: of each channel (RGB), pixels scaled to [0, 1].
    """

    image_size: tuple[int, int]
    resize: Resize = "crop"
    crop_fraction: float = 1.0
    interpolation: Interpolation = "bilinear"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
