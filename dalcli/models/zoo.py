"""From a :class:`ModelSpec` to a model: one registry, one file per family."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType, ModuleType

import torch
from torch import nn

from dalcli.config.hashing import derive_seed
from dalcli.errors import BadInputError
from dalcli.models import cnn, dry_run, resnet18, torchvision_models, user_models, vgg11
from dalcli.models.spec import ModelSpec, is_timm, resolve_stem

__all__ = ["OWN", "ModelSpec", "build", "check", "check_name", "resolve_stem"]

# The paper's models. Each module has build(spec) and SMALLEST, the least pixels per side; those that torchvision
# has weights for also have TORCHVISION_NAME.
OWN: MappingProxyType[str, ModuleType] = MappingProxyType({"cnn": cnn, "resnet18": resnet18, "vgg11": vgg11})


USUAL_SIDES = (32, 64, 96, 128, 160, 192, 224, 256, 299, 384, 448, 512)  # pixels, tried for advice


def build(spec: ModelSpec, seed: int, folder: Path | None = None) -> nn.Module:
    """A model with fresh weights that depend on ``seed`` and the model's name alone.

    Pretrained weights are loaded by :func:`dalcli.models.pretrained.load`. The global generator of torch is left
    as it was. ``folder`` is the workspace, where ``module:function`` is looked up first.

    Raises:
        BadInputError: see :func:`check`.
    """
    _check_without_building(spec, folder)
    with initialised_by(seed, spec.name):
        model = _construct(spec, folder)
        if user_models.is_user_model(spec.name):
            _check_user_output(model, spec)
    return model


def check(spec: ModelSpec, folder: Path | None = None) -> None:
    """Refuse a spec that cannot be built or cannot take its images. Costs no weights except for users' models.

    Raises:
        BadInputError: naming the key (``model.name``, ``model.dropout``, ``data.image_size``) and what would fit.
    """
    _check_without_building(spec, folder)
    if user_models.is_user_model(spec.name):
        with initialised_by(0, spec.name):
            _check_user_output(_construct(spec, folder), spec)


def check_name(name: str, folder: Path | None = None) -> None:
    """Refuse a model name that means nothing, without building anything.

    Raises:
        BadInputError: key ``model.name``, with the closest known name.
    """
    if is_timm(name):
        raise BadInputError(
            f"model.name: {name} can only be used as a frozen network",
            "Set model.train: head, or choose another model.",
        )
    if user_models.is_user_model(name):
        user_models.find_function(name, folder)
        return
    known = [*OWN, *(other for other in torchvision_models.names() if other not in OWN)]
    if name not in known:
        close = difflib.get_close_matches(name.lower(), known, n=1)
        raise BadInputError(
            f"model.name: unknown model {name!r}" + (f": did you mean {close[0]!r}?" if close else ""),
            f"Known: {', '.join(OWN)}, torchvision's classification models such as resnet50 or efficientnet_b0, "
            "and module:function of your own.",
        )


def _check_without_building(spec: ModelSpec, folder: Path | None) -> None:
    check_name(spec.name, folder)
    if spec.name in OWN:
        _check_own_size(spec)
        return
    if spec.dropout:
        raise BadInputError(
            f"model.dropout: {spec.name} does not take it", f"It works with {', '.join(OWN)}; set model.dropout: 0."
        )
    if not user_models.is_user_model(spec.name):
        _check_torchvision_size(spec)


def _check_own_size(spec: ModelSpec) -> None:
    smallest: int = OWN[spec.name].SMALLEST
    height, width = spec.image_size
    if min(height, width) < smallest:
        raise BadInputError(
            f"data.image_size: {spec.name} needs at least {smallest}×{smallest} pixels, not {height}×{width}",
            f"Set data.image_size: {smallest} (images are enlarged), or model.name: cnn, which takes any size.",
        )


def _check_torchvision_size(spec: ModelSpec) -> None:
    reason = _refusal(spec)
    if reason is not None:
        larger = (side for side in USUAL_SIDES if side >= max(spec.image_size))
        sizes = (dataclasses.replace(spec, image_size=(side, side)) for side in larger)
        fitting = next((other.image_size[0] for other in sizes if _refusal(other) is None), None)
        raise torchvision_models.image_size_error(spec, reason, fitting)


def _refusal(spec: ModelSpec) -> str | None:
    """Why a torchvision model cannot take its image size; None where it can. Costs no weights."""
    try:
        with dry_run.without_weights():
            model = torchvision_models.build(spec)
        dry_run.output_shape(model.to("meta"), spec, "meta")
    except (RuntimeError, ValueError, AssertionError) as error:  # what layers raise for an input that is too small
        return str(error)
    return None


def _check_user_output(model: nn.Module, spec: ModelSpec) -> None:
    with user_models.users_code(spec.name):
        shape = dry_run.output_shape(model, spec, "cpu")
    if shape != (2, spec.num_classes):
        raise BadInputError(
            f"model.name: {spec.name} gives {shape} for two images where logits (2, {spec.num_classes}) are needed",
            "In eval and in training mode the model must return one tensor: a logit per image and class.",
        )


def _construct(spec: ModelSpec, folder: Path | None) -> nn.Module:
    if spec.name in OWN:
        model: nn.Module = OWN[spec.name].build(spec)
        return model
    if user_models.is_user_model(spec.name):
        return user_models.build(spec, folder)
    return torchvision_models.build(spec)


@contextmanager
def initialised_by(seed: int, name: str) -> Iterator[None]:
    """Layers of model ``name`` initialise from ``seed``; only the processor's generator is touched, and put back."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(seed, "init", name))
        yield
