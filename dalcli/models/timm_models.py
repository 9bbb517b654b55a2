"""Frozen networks of the timm package (PyTorch Image Models), which is optional: ``timm:NAME`` or ``timm:NAME.TAG``.

timm itself builds them, says what images they want, and fits their tensors, interpolating tables of positions where the
image size is another one than the weights were trained with.
"""

from __future__ import annotations

import difflib
import importlib
import logging
import math
import os
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from dalcli.data.recipe import Recipe
from dalcli.errors import BadInputError
from dalcli.feedback import Feedback
from dalcli.models import downloading, fitting, published, weights_reader
from dalcli.models.spec import TIMM
from dalcli.models.weights_reader import State

Config = dict[str, Any]  # timm's description of one set of weights
DEFAULT = "DEFAULT"

_RESIZE = {"center": "crop", "squash": "stretch", "border": "pad"}
# What the hub may call the tensors of a repository, best first.
_HUB_FILES = ("model.safetensors", "open_clip_model.safetensors", "pytorch_model.bin")


def check(name: str, weights: str = DEFAULT) -> None:
    """Refuse names that mean nothing, without building or downloading anything; see :func:`config`."""
    config(name, weights)


def config(name: str, weights: str = DEFAULT) -> Config:
    """timm's description of the weights of ``timm:NAME``: their files, and what images they want.

    Args:
        name: ``timm:NAME`` or ``timm:NAME.TAG``.
        weights: a tag, or ``DEFAULT`` for the one in ``name``, else for timm's own choice.

    Raises:
        BadInputError: timm is not installed (``model.name``), has no such model, or no such weights.
    """
    timm = _timm(name)
    base, _, tag = name.removeprefix(TIMM).partition(".")
    if not timm.is_model(base):
        close = difflib.get_close_matches(base.lower(), timm.list_models(), n=1)
        raise BadInputError(
            f"model.name: timm has no model {base!r}" + (f": did you mean {TIMM + close[0]!r}?" if close else ""),
            "List them: python -c \"import timm; print(*timm.list_models(pretrained=True), sep='\\n')\"",
        )
    tag = tag if weights == DEFAULT else weights
    tags = _tags(timm, base)
    if tag and tag not in tags:
        close = difflib.get_close_matches(tag, tags, n=1)
        raise BadInputError(
            f"model.weights: {TIMM}{base} has no weights {tag!r}" + (f": did you mean {close[0]!r}?" if close else ""),
            f"Valid: {', '.join([DEFAULT, *tags])}, or a .safetensors or .pth file.",
        )
    return {
        "num_classes": 1000,
        "architecture": base,
        **timm.get_pretrained_cfg(f"{base}.{tag}" if tag else base).to_dict(),
    }


def recipe(config: Config) -> Recipe:
    """What the weights expect an image to become."""
    from timm.data import resolve_data_config

    data = resolve_data_config(pretrained_cfg=config)
    _, height, width = data["input_size"]
    shorter = min(height, width)
    return Recipe(
        image_size=(height, width),
        resize=_RESIZE.get(data["crop_mode"], "crop"),  # type: ignore[arg-type]  # values are those of Resize
        crop_fraction=min(1.0, shorter / math.floor(shorter / data["crop_pct"])),
        interpolation="bilinear" if data["interpolation"] == "bilinear" else "bicubic",
        mean=tuple(data["mean"]),
        std=tuple(data["std"]),
    )


def build(found: Config, image_size: tuple[int, int], num_classes: int = 0) -> nn.Module:
    """The model with fresh weights; with 0 classes it gives what enters the last layer, the features.

    Raises:
        ValueError, AssertionError, RuntimeError: it cannot take ``image_size`` (others notice when they see an image).
    """
    return _created(found, image_size, num_classes=num_classes)


def body(found: Config, state: State, image_size: tuple[int, int], source: str) -> tuple[nn.Module, tuple[str, ...]]:
    """The network without its last layer, with the tensors of ``state``, and notes for the user.

    ``source`` is what ``state`` came from.

    Raises:
        BadInputError: key ``model.weights``: the tensors do not fit.
        ValueError, AssertionError, RuntimeError: see :func:`build`.
    """
    notes: tuple[str, ...] = ()
    features = build(found, image_size).eval()
    with torch.no_grad():
        features(torch.zeros(1, 3, *image_size))  # a wrong size is not to be mistaken for wrong weights
    model = _loaded(found, state, image_size)
    if model is None:
        state, notes = _in_order(found, state, image_size, source)
        model = _loaded(found, state, image_size)
        assert model is not None, "names and shapes are those of the model"
    kept = features.state_dict().keys()
    features.load_state_dict(OrderedDict((name, tensor) for name, tensor in model.state_dict().items() if name in kept))
    return features, notes


def state(found: Config, downloads: Path, feedback: Feedback) -> State:
    """The tensors that timm publishes: from the hub's or torch's cache, from ``downloads``, or downloaded there.

    Raises:
        BadInputError: timm has none, or only in a format of another framework.
        DownloadError: the file is nowhere and cannot be downloaded.
    """
    offered = _offered(found)
    if not offered:
        raise BadInputError(
            f"model.weights: timm publishes no weights for {_full_name(found)} that can be read here",
            "Choose another model, or give a .safetensors or .pth file.",
        )
    places = [_cached(found), *(downloads / name for _, name in offered)]
    there = next((place for place in places if place is not None and place.is_file()), None)
    return weights_reader.read(there or _downloaded(offered, downloads, feedback), pickled=True)


def _loaded(found: Config, state: State, image_size: tuple[int, int]) -> nn.Module | None:
    """The whole model with the tensors of ``state``, all of them and no others; None where they do not fit."""
    head = next((name for name in _head_names(found) if name in state), None)
    # Without a head by this name the file may be of another program, with a name that timm knows, or have none at all.
    if head is not None and not state[head].ndim:
        return None
    for classes in [len(state[head])] if head else [int(found["num_classes"]), 0]:
        fitting_head = {} if classes else {"classifier": None}
        overlay = {"state_dict": state, "num_classes": classes, "label_offset": None, **fitting_head}
        try:
            return _created(found, image_size, num_classes=classes, pretrained=True, pretrained_cfg_overlay=overlay)
        except Exception:  # the code that renames tensors of other formats fails in its own ways
            continue
    return None


def _in_order(found: Config, state: State, image_size: tuple[int, int], source: str) -> tuple[State, tuple[str, ...]]:
    """``state`` by timm's names if the order tells them, or BadInputError."""
    name, head = f"{TIMM}{found['architecture']}", _head_names(found)
    expected = _created(found, image_size).state_dict()
    renamed = fitting.renamed(state, expected, head, source, name)
    if renamed is not None:
        return renamed[0], (renamed[1],)
    problems = fitting.differences(expected, state, head) or [_about_head(found, state)]
    raise fitting.misfit(name, source, problems)


def _about_head(found: Config, state: State) -> str:
    """What is wrong where everything before the last layer fits."""
    shapes = ", ".join(f"{name} {tuple(state[name].shape)}" for name in sorted(_head_names(found)) if name in state)
    return f"its last layer is none that this network can have ({shapes or 'there is none'})"


def _created(found: Config, image_size: tuple[int, int], **options: Any) -> nn.Module:
    size = {"img_size": image_size} if found.get("fixed_input_size") else {}
    with _silent():
        model: nn.Module = _timm("").create_model(
            found["architecture"], pretrained_cfg=found.get("tag"), **size, **options
        )
    return model


def _head_names(found: Config) -> frozenset[str]:
    classifier = found.get("classifier") or ()
    layers = (classifier,) if isinstance(classifier, str) else classifier
    return frozenset(f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias"))


def _full_name(found: Config) -> str:
    return ".".join(filter(None, (found["architecture"], found.get("tag"))))


def _offered(found: Config) -> list[tuple[str, str]]:
    """Addresses that timm's weights may be at, best first, each with the name that its file gets here."""
    if found.get("hf_hub_id"):
        repository, _, revision = found["hf_hub_id"].partition("@")
        site = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
        return [
            (f"{site}/{repository}/resolve/{revision or 'main'}/{file}", f"{_full_name(found)}{Path(file).suffix}")
            for file in _hub_files(found)
        ]
    url = found.get("url")
    return [(url, url.rsplit("/", 1)[-1])] if isinstance(url, str) and not found.get("custom_load") else []


def _hub_files(found: Config) -> tuple[str, ...]:
    own = found.get("hf_hub_filename")
    return _HUB_FILES if own is None else (str(Path(own).with_suffix(".safetensors")), own)


def _cached(found: Config) -> Path | None:
    """The file in the hub's own cache, or in torch's, where older versions of timm put it."""
    if found.get("hf_hub_id"):
        from huggingface_hub import try_to_load_from_cache

        repository, _, revision = found["hf_hub_id"].partition("@")
        for file in _hub_files(found):
            path = try_to_load_from_cache(repository, file, revision=revision or None)
            if isinstance(path, str):
                return Path(path)
    url = found.get("url")
    if not isinstance(url, str) or found.get("custom_load"):
        return None
    path = published.torch_cache() / url.rsplit("/", 1)[-1]
    return path if path.is_file() and downloading.matches(path, downloading.digits_in(path.name)) else None


def _downloaded(offered: list[tuple[str, str]], downloads: Path, feedback: Feedback) -> Path:
    remedy = (
        f"On a connected machine download {offered[0][0]}, copy it here and name it: --weights FILE (model.weights)."
    )
    for url, name in offered:
        try:
            downloading.fetch(url, downloads / name, remedy, feedback, downloading.digits_in(name))
            return downloads / name
        except downloading.DownloadError as error:
            if not error.missing or url == offered[-1][0]:
                raise
    raise AssertionError("unreachable")


def _tags(timm: ModuleType, base: str) -> list[str]:
    return [full.partition(".")[2] for full in timm.list_models(f"{base}.*", pretrained=True)]


def _timm(name: str) -> ModuleType:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about what it imports itself
            return importlib.import_module("timm")
    except ImportError as error:
        raise BadInputError(
            f"model.name: {name} needs the timm package, which cannot be imported here ({error})",
            "Install it: pip install 'dalcli[timm]'",
        ) from error


@contextmanager
def _silent() -> Iterator[None]:
    """timm tells its log what it renames, interpolates and leaves out; what matters is checked here."""
    log = logging.getLogger("timm")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(before)
