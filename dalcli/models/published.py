"""The weights that torchvision publishes, by name: which there are, what images they want, and their files."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import torch
from torchvision import models

from dalcli.data.recipe import Recipe
from dalcli.errors import BadInputError
from dalcli.feedback import Feedback
from dalcli.models import downloading, torchvision_models, weights_reader
from dalcli.models.spec import ModelSpec
from dalcli.models.weights_reader import State
from dalcli.models.zoo import OWN

Weights = Any  # a member of one of torchvision's enumerations; it has no types


def named(spec: ModelSpec, name: str) -> Weights:
    """The weights for this model that ``name`` means: ``DEFAULT``, ``IMAGENET1K_V1``, ``ResNet18_Weights.DEFAULT``, ...

    Raises:
        BadInputError: key ``model.weights``, with the names there are.
    """
    if spec.name == "resnet18" and spec.stem == "small":
        raise BadInputError(
            f"model.weights: {name} does not fit resnet18 with the small stem", "Set model.stem: large."
        )
    members = _members(spec.name)
    if not members:
        raise BadInputError(
            f"model.weights: torchvision has no weights for {spec.name}",
            "Give a .safetensors file, or leave model.weights out.",
        )
    short = name.rsplit(".", 1)[-1]
    if short in members:
        return members[short]
    close = difflib.get_close_matches(short.upper(), members, n=1)
    raise BadInputError(
        f"model.weights: {spec.name} has no weights {name!r}" + (f": did you mean {close[0]!r}?" if close else ""),
        f"Valid: {', '.join(members)}, or a .safetensors file.",
    )


def behind_file(name: str, path: Path) -> Weights | None:
    """Which weights for the model ``name`` a file has the name of; else the first that were published, if any."""
    members = _members(name)
    same = (member for member in members.values() if file_name(member) == path.name)
    return next(same, next(iter(members.values()), None))


def recipe(weights: Weights) -> Recipe:
    """What ``weights`` expect an image to become: the published resize of the shorter side and crop, in one go."""
    transforms = weights.transforms()
    (side,), (shorter,) = transforms.crop_size, transforms.resize_size
    return Recipe(
        image_size=(side, side),
        resize="crop",
        crop_fraction=side / shorter,
        interpolation="bicubic" if transforms.interpolation.value == "bicubic" else "bilinear",
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
    )


def state(weights: Weights, downloads: Path | None, feedback: Feedback) -> State:
    """The tensors, from torch's cache, from ``downloads`` (default: torch's cache) or downloaded there.

    Raises:
        DownloadError: the file is nowhere and cannot be downloaded.
        BadInputError: it cannot be read.
    """
    cache = torch_cache()
    folder = cache if downloads is None else downloads
    name = file_name(weights)
    digits = downloading.digits_in(name)
    for place in (cache, folder):
        if (place / name).is_file() and downloading.matches(place / name, digits):
            return weights_reader.read(place / name, pickled=True)
    remedy = (
        f"On a connected machine download {weights.url} and copy it to {folder / name}. With model.train: head it may "
        "be anywhere: --weights FILE."
    )
    downloading.fetch(weights.url, folder / name, remedy, feedback, digits)
    return weights_reader.read(folder / name, pickled=True)


def torch_cache() -> Path:
    """The folder torch keeps its downloads in."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def file_name(weights: Weights) -> str:
    """What torchvision calls the file of these weights."""
    return str(weights.url).rsplit("/", 1)[-1]


def _members(name: str) -> dict[str, Weights]:
    source = getattr(OWN[name], "TORCHVISION_NAME", None) if name in OWN else name
    return {} if source not in torchvision_models.names() else dict(models.get_model_weights(source).__members__)
