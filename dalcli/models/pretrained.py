"""Start from weights somebody else trained: a local safetensors file, or torchvision's download."""

from __future__ import annotations

import difflib
import io
import re
import warnings
from collections import OrderedDict
from contextlib import redirect_stdout, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision import models
from torchvision.models.vision_transformer import interpolate_embeddings

from dalcli.errors import BadInputError, DalcliError
from dalcli.models import torchvision_models, weights_file
from dalcli.models.head import find_head
from dalcli.models.preprocess import IMAGENET, PixelStats
from dalcli.models.spec import ModelSpec, is_weights_file
from dalcli.models.zoo import OWN

State = OrderedDict[str, Tensor]


def load(
    model: nn.Module, spec: ModelSpec, folder: Path | None = None, downloads: Path | None = None
) -> tuple[str, ...]:
    """Put ``spec.weights`` into a freshly built ``model``; without ``spec.weights`` nothing happens.

    The head keeps its fresh weights where the file has another number of classes, and always with torchvision's
    (their classes are ImageNet's). ``folder`` is what a relative file name is relative to; ``downloads`` the folder
    torchvision downloads into (default: torch's own cache, which is looked into first in any case).

    Returns:
        Notes for the user: what was loaded, what was left fresh.

    Raises:
        BadInputError: key ``model.weights``: no such file or name, or the tensors do not fit (they are named).
        DalcliError: the download failed; the remedy says how to bring the file by hand.
    """
    if spec.weights is None:
        return ()
    head = find_head(model, spec.num_classes)
    if is_weights_file(spec.weights):
        path = (folder or Path()) / spec.weights
        state, foreign_head = _from_file(path), False
    else:
        state, foreign_head = _from_torchvision(spec, spec.weights, downloads), True
    state = _adapted(state, spec, model)
    fresh = _drop_head(state, model, head, foreign_head)
    _fill(model, state, spec, fresh)
    left = f"; {head} starts fresh for {spec.num_classes} classes" if fresh else ""
    return (f"{spec.name} starts from {spec.weights}{left}",)


def check(spec: ModelSpec, folder: Path | None = None) -> None:
    """Refuse ``spec.weights`` that cannot be found or are no weights, without reading or downloading their tensors.

    Raises:
        BadInputError: key ``model.weights``.
    """
    if spec.weights is None:
        return
    if not is_weights_file(spec.weights):
        _named_weights(spec, spec.weights)
    else:
        weights_file.require((folder or Path()) / spec.weights)


def pixel_stats(spec: ModelSpec) -> PixelStats | None:
    """The normalisation pretrained weights expect (ImageNet's, the convention); None: measure the pool's own."""
    return None if spec.weights is None else IMAGENET


def _from_file(path: Path) -> State:
    weights_file.require(path)
    with weights_file.readable(path):
        state = OrderedDict(load_file(path))
    # MNASNet wants its version number; the other models that look at versions take their absence for an old file.
    state._metadata = {"": {"version": 2}}  # type: ignore[attr-defined]  # where load_state_dict looks
    return state


def _from_torchvision(spec: ModelSpec, name: str, downloads: Path | None) -> State:
    weights = _named_weights(spec, name)
    cached = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rsplit("/", 1)[-1]
    target = {} if downloads is None or cached.exists() else {"model_dir": str(downloads)}
    try:
        with redirect_stdout(io.StringIO()):  # torchvision announces the download there
            state: State = weights.get_state_dict(progress=False, check_hash=True, weights_only=True, **target)
        return state
    except (OSError, HTTPException, RuntimeError) as error:  # RuntimeError: the hash does not match
        raise DalcliError(
            f"model.weights: {name} could not be downloaded from {weights.url}: {error}",
            'On a connected machine: python -c "from torchvision.models import get_weight as g; import '
            f"safetensors.torch as s; s.save_file(g('{type(weights).__name__}.{weights.name}').get_state_dict(), "
            f"'{spec.name}.safetensors')\"; copy the file here and set model.weights: {spec.name}.safetensors",
        ) from error


def _named_weights(spec: ModelSpec, name: str) -> Any:
    """The member of torchvision's weights enum for this model that ``name`` means."""
    source = getattr(OWN[spec.name], "TORCHVISION_NAME", None) if spec.name in OWN else spec.name
    if source not in torchvision_models.names():
        raise BadInputError(
            f"model.weights: torchvision has no weights for {spec.name}",
            "Give a .safetensors file, or leave model.weights out.",
        )
    if spec.name == "resnet18" and spec.stem == "small":
        raise BadInputError(
            f"model.weights: {name} does not fit resnet18 with the small stem", "Set model.stem: large."
        )
    members = models.get_model_weights(source).__members__
    short = name.rsplit(".", 1)[-1]
    if short in members:
        return members[short]
    close = difflib.get_close_matches(short.upper(), members, n=1)
    raise BadInputError(
        f"model.weights: {spec.name} has no weights {name!r}" + (f": did you mean {close[0]!r}?" if close else ""),
        f"Valid: {', '.join(members)}, or a .safetensors file.",
    )


def _adapted(state: State, spec: ModelSpec, model: nn.Module) -> State:
    """Published weights as the models here name and size them."""
    dropped = {"vgg11": r"classifier\.", "googlenet": r"aux[12]\.", "inception_v3": r"AuxLogits\."}.get(spec.name)
    for name in list(state):
        if dropped and re.match(dropped, name):
            del state[name]
    if spec.name.startswith("densenet"):
        for name in list(state):  # published before module names could hold no dots: norm.1 is norm1 today
            renamed = re.sub(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)", r"\1\2", name)
            state[renamed] = state.pop(name)
    position = "encoder.pos_embedding"
    if spec.name.startswith("vit_") and position in state:
        patch = int(model.conv_proj.kernel_size[0])  # type: ignore[index, union-attr]  # a convolution
        with suppress(ValueError):  # not a square grid: reported with the other tensors that do not fit
            state = interpolate_embeddings(spec.image_size[0], patch, state)
    return state


def _drop_head(state: State, model: nn.Module, head: str | None, foreign: bool) -> frozenset[str]:
    """Remove the head's tensors from ``state`` where they are for other classes; their names."""
    if head is None:
        return frozenset()
    own = {f"{head}.{name}": tensor for name, tensor in model.get_submodule(head).state_dict().items()}
    fits = all(name in state and state[name].shape == tensor.shape for name, tensor in own.items())
    if fits and not foreign:
        return frozenset()
    for name in own:
        state.pop(name, None)
    return frozenset(own)


def _fill(model: nn.Module, state: State, spec: ModelSpec, fresh: frozenset[str]) -> None:
    expected = model.state_dict()
    misshapen = [
        f"{name}: {tuple(state[name].shape)} in the file, {tuple(expected[name].shape)} in the model"
        for name in expected.keys() & state.keys()
        if state[name].shape != expected[name].shape
    ]
    problems = sorted(misshapen)
    if not problems:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torchvision remarks on old formats that it reads all the same
            result = model.load_state_dict(state, strict=False)
        # A counter that formats before torch 0.4.1 lack and nothing here uses.
        missing = [n for n in result.missing_keys if n not in fresh and not n.endswith("num_batches_tracked")]
        problems = [f"missing: {n}" for n in missing] + [f"unexpected: {n}" for n in result.unexpected_keys]
    if problems:
        few = "; ".join(problems[:3]) + (f"; and {len(problems) - 3} more" if len(problems) > 3 else "")
        raise BadInputError(
            f"model.weights: {spec.weights} does not fit {spec.name}: {few}",
            "Check model.name, model.stem and data.image_size against the model these weights were trained with.",
            problems,
        )
