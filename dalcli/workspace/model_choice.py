"""Which model and input size suit a pool: the default a newcomer gets.

Small images are used at their own size by ``cnn``; larger ones are reduced for ``resnet18``, so that a first
``train`` of 100 photos ends within minutes on two processor cores.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from dalcli.config.schema import Config
from dalcli.workspace.session import ModelChoice

SMALL = 64
REDUCED = 128
MINIMUM = {"vgg11": 32}


def choose(sizes: Sequence[tuple[int, int]], config: Config) -> ModelChoice:
    """Model and input size for images of these (height, width); the configuration wins where it says something."""
    height = round(median(h for h, _ in sizes)) if sizes else 32
    width = round(median(w for _, w in sizes)) if sizes else 32
    small = max(height, width) <= SMALL
    name = config.model.name
    if name == "auto":
        small_input = small if config.data.image_size == "auto" else max(config.data.image_size) <= SMALL
        name = "cnn" if small_input else "resnet18"
    if config.data.image_size != "auto":
        return ModelChoice(name, config.data.image_size)
    least = MINIMUM.get(name, 1)
    if small:
        return ModelChoice(name, (max(height, least), max(width, least)))
    if name in {"cnn", "vgg11"}:
        return ModelChoice(name, (SMALL, SMALL))
    return ModelChoice(name, (REDUCED, REDUCED) if name == "resnet18" else (224, 224))
