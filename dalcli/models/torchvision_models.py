"""Every classification model of torchvision by its name."""

from __future__ import annotations

from typing import Any

from torch import nn
from torchvision import models

from dalcli.errors import BadInputError
from dalcli.models.spec import ModelSpec


def names() -> tuple[str, ...]:
    """All classification model names torchvision knows, sorted."""
    return tuple(sorted(models.list_models(module=models)))


def build(spec: ModelSpec) -> nn.Module:
    """The model with fresh weights, giving plain logits in training and in eval mode.

    Raises:
        ValueError, AssertionError: the architecture cannot take ``spec.image_size`` (maxvit and vit notice here,
            the others when they see an image).
    """
    model: nn.Module = models.get_model(spec.name, weights=None, num_classes=spec.num_classes, **options(spec))
    if spec.name.startswith("squeezenet"):
        # A ReLU on the logits has no gradient at 0, where a class added later starts: it would never learn.
        setattr(model.classifier, "2", nn.Identity())
    return model


def image_size_error(spec: ModelSpec, reason: str, fitting: int | None = None) -> BadInputError:
    """What to say when ``spec.name`` cannot take ``spec.image_size``; ``fitting`` is a size that it can take."""
    height, width = spec.image_size
    first = reason.splitlines()[0].split(". ")[0].rstrip(".!")
    return BadInputError(
        f"data.image_size: {spec.name} cannot take images of {height}×{width} pixels ({first})",
        f"Set data.image_size: {fitting or 224}, which it can take, or choose another model.name.",
    )


def options(spec: ModelSpec) -> dict[str, Any]:
    """What its constructor is told beside the number of classes."""
    if spec.name in {"googlenet", "inception_v3"}:
        # Their published weights expect inputs in [-1, 1]; transform_input converts from ImageNet's statistics.
        return {"aux_logits": False, "init_weights": True, "transform_input": spec.weights is not None}
    if spec.name.startswith("vit_"):
        height, width = spec.image_size
        if height != width:
            raise ValueError("it takes square images only")
        return {"image_size": height}
    if spec.name.startswith("maxvit_"):
        return {"input_size": spec.image_size}
    return {}
