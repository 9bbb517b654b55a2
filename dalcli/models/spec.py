"""What a model is, as a value: everything needed to build the same architecture again."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Literal

from dalcli.data.network import NetworkRecord
from dalcli.data.recipe import Recipe

Stem = Literal["small", "large"]
StemChoice = Literal["auto", "small", "large"]
Seen = tuple[int, int] | Recipe | NetworkRecord
"""What is seen of an image: its pixels at a size (resized as ``data.resize`` says) or by a recipe, or the features that
a frozen network gives."""

TIMM = "timm:"  # before the name of a model of the timm package
LARGE_STEM_FROM = 96  # pixels: below it ImageNet's stem leaves the last stage fewer than 3×3 positions


@dataclass(frozen=True)
class ModelSpec:
    """One architecture, stored with every model version.

    Attributes:
        name: ``cnn``, ``resnet18``, ``vgg11``, a torchvision classification model, or ``module:function``.
        num_classes: length K of the logits.
        image_size: height and width of the input in pixels.
        stem: first layers of ``resnet18``; other models ignore it.
        dropout: probability before the last linear layer (``cnn``, ``resnet18``, ``vgg11`` only).
        weights: pretrained start: a ``.safetensors`` path or a torchvision weights name; None for fresh weights.
        frozen: the network whose features a head alone is trained on; None: the whole of ``name`` is trained.
        origin: the frozen network that training as a whole started from, and whose recipe images follow.
    """

    name: str
    num_classes: int
    image_size: tuple[int, int]
    stem: Stem = "small"
    dropout: float = 0.0
    weights: str | None = None
    frozen: NetworkRecord | None = None
    origin: NetworkRecord | None = None

    @property
    def seen(self) -> Seen:
        """What is seen of an image."""
        if self.frozen is not None:
            return self.frozen
        return self.image_size if self.origin is None else self.origin.recipe

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of what goes into the model that is trained, for one image."""
        return (3, *self.image_size) if self.frozen is None else (self.frozen.dimension,)

    def with_classes(self, num_classes: int) -> ModelSpec:
        """The same model for another number of classes."""
        return dataclasses.replace(self, num_classes=num_classes)


def is_user_model(name: str) -> bool:
    """Whether ``model.name`` is ``module:function`` of the user's own."""
    return ":" in name and not name.startswith("timm:")


def is_weights_file(weights: str) -> bool:
    """Whether ``model.weights`` names a file rather than weights of torchvision."""
    return bool(re.search(r"[/\\]|\.(safetensors|pth?|bin|ckpt)$", weights))


def resolve_stem(image_size: tuple[int, int], choice: StemChoice = "auto") -> Stem:
    """The stem that ``auto`` stands for: large where the shorter side has at least 96 pixels."""
    if choice != "auto":
        return choice
    return "large" if min(image_size) >= LARGE_STEM_FROM else "small"


def is_timm(name: str) -> bool:
    """Whether a model's name means one of the timm package."""
    return name.startswith(TIMM)
