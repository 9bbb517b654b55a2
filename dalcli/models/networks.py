"""Frozen networks: a pretrained network without its last layer, from weights to features, and kept in a workspace.

Three kinds, by name: torchvision's classification models (and ``resnet18``, ``vgg11`` of our own with torchvision's
weights), ``timm:NAME``, and ``module:function`` of the user's own. Images become what ImageNet's networks usually see,
unless torchvision, timm or a dictionary ``recipe`` on the user's function says otherwise::

    def my_net(num_classes, image_size): ...
    my_net.recipe = {"image_size": (192, 192), "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from dalcli.config.hashing import short_hash
from dalcli.data.network import NetworkRecord
from dalcli.data.recipe import Recipe
from dalcli.errors import BadInputError, DalcliError
from dalcli.feedback import Feedback, SilentFeedback
from dalcli.models import fitting, soundness, timm_models, weights_file, zoo
from dalcli.models.beheading import behead, head_tensors, require_head
from dalcli.models.checkpoint import load_state
from dalcli.models.frozen_network import FrozenNetwork
from dalcli.models.network_sources import DEFAULT, body_from, source_of, spec_named, timm_config
from dalcli.models.spec import ModelSpec, is_timm, is_weights_file
from dalcli.models.tensorfile import DamagedFileError, read_tensors, write_tensors
from dalcli.models.user_models import is_user_model

NETWORK_VERSION = 1  # to be raised whenever the same tensors and recipe would give other features, but for rounding


def check(name: str, weights: str | None, folder: Path) -> None:
    """Refuse a network or weights that do not exist, without reading, downloading or building anything large.

    Args:
        name, weights, folder: see :func:`load`.

    Raises:
        BadInputError: key ``model.name`` or ``model.weights``.
    """
    source_of(name, weights or DEFAULT, folder)
    if weights is not None and is_weights_file(weights):
        weights_file.require(folder / weights, pickled=True)


def load(
    name: str,
    weights: str | None,
    folder: Path,
    downloads: Path,
    image_size: tuple[int, int] | None = None,
    feedback: Feedback | None = None,
) -> FrozenNetwork:
    """A frozen network from the weights that somebody else trained.

    Args:
        name: a torchvision classification model, ``timm:NAME`` or ``module:function``.
        weights: a file (relative to ``folder``; ``.safetensors``, or ``.pth``, ``.pt``, ``.bin`` of ``torch.save``), a
            name that torchvision or timm publishes weights under, or None for ``DEFAULT``.
        folder: the workspace.
        downloads: where weights are downloaded to; torch's and the hub's own caches are looked into first.
        image_size: height and width of the input; None: what the weights were made for.
        feedback: shows downloads.

    Raises:
        BadInputError: keys ``model.name``, ``model.weights``, ``data.image_size``: something does not exist or fit.
        DownloadError: weights are nowhere here and cannot be downloaded.
    """
    asked = weights or DEFAULT
    check(name, asked, folder)
    source = source_of(name, asked, folder)
    recipe = source.recipe if image_size is None else dataclasses.replace(source.recipe, image_size=image_size)
    state = source.state(downloads, feedback or SilentFeedback())
    body, notes = body_from(name, asked, state, recipe, folder)
    _require_numbers(body, name, asked)
    features, doubts = soundness.probe(body, spec_named(name, recipe.image_size), asked)
    # Packages say by their version what their code does; the user's is known by what it gave.
    marks = soundness.marks(features) if is_user_model(name) else ()
    record = NetworkRecord(name, asked, _fingerprint(name, recipe, body), features.shape[1], recipe, marks)
    return FrozenNetwork(record, body, (*source.notes, *notes, *doubts))


def store(folder: Path, network: FrozenNetwork) -> Path:
    """Keep a network in ``folder`` under its fingerprint, atomically; the file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = _path(folder, network.record)
    write_tensors(path, network.tensors(), {"network": network.record.fingerprint})
    return path


def read(folder: Path, record: NetworkRecord, workspace: Path | None = None) -> FrozenNetwork:
    """The network that :func:`store` kept in ``folder``, on the processor: the same features to the last bit.

    Neither weights nor a network connection are needed; timm, or the user's function (looked up in ``workspace``
    first), are.

    Raises:
        DamagedFileError: the file is missing or damaged.
        DalcliError: it does not fit the network that ``record.name`` means here.
    """
    tensors = stored(folder, record)
    body = _bare(record, workspace)
    _restore(body, tensors, record)
    if record.marks:
        _require_the_same(body, record)
    return FrozenNetwork(record, body)


def stored(folder: Path, record: NetworkRecord) -> dict[str, Tensor]:
    """The tensors that :func:`store` kept in ``folder``.

    Raises:
        DamagedFileError: the file is missing or damaged.
    """
    path = _path(folder, record)
    try:
        tensors, metadata = read_tensors(path)
        if metadata.get("network") != record.fingerprint:
            raise DamagedFileError(f"{path} holds another network than its name says")
    except DamagedFileError as error:
        raise DamagedFileError(
            error.message,
            f"Restore the file from a backup, or make it again from the weights ({record.name}, {record.weights}): "
            "`dalcli init` with the same model in a new folder writes the same file.",
        ) from error
    return tensors


def whole(
    record: NetworkRecord,
    tensors: Mapping[str, Tensor],
    num_classes: int,
    seed: int = 0,
    workspace: Path | None = None,
) -> nn.Module:
    """The network with a last layer for ``num_classes`` again, whose weights are fresh and depend on ``seed``.

    ``tensors`` are those of the frozen network: :func:`stored`, or :meth:`FrozenNetwork.tensors`. Everything can be
    trained.

    Raises:
        DalcliError: the tensors do not fit the network that ``record.name`` means here.
    """
    spec = spec_named(record.name, record.recipe.image_size).with_classes(num_classes)
    if is_timm(record.name):
        with zoo.initialised_by(seed, record.name):
            model = timm_models.build(timm_config(record.name, record.weights), spec.image_size, num_classes)
        # It may be several layers.
        head = frozenset(model.state_dict().keys() - _bare(record, workspace).state_dict().keys())
    else:
        model = zoo.build(spec, seed, workspace)
        head = head_tensors(model, require_head(model, spec))
    fresh = {name: tensor for name, tensor in model.state_dict().items() if name in head}
    _restore(model, {**tensors, **fresh}, record)
    return model


def _bare(record: NetworkRecord, workspace: Path | None) -> nn.Module:
    """The network without its last layer and with any weights."""
    spec = spec_named(record.name, record.recipe.image_size)
    if is_timm(record.name):
        return timm_models.build(timm_config(record.name, record.weights), spec.image_size)
    model = zoo.build(spec, 0, workspace)
    behead(model, spec)
    return model


def spec_of(record: NetworkRecord) -> ModelSpec:
    """What :func:`whole` builds, with ImageNet's number of classes."""
    return spec_named(record.name, record.recipe.image_size)


def _require_numbers(body: nn.Module, name: str, weights: str) -> None:
    """Some published files hold NaN where nothing was trained (vgg16's IMAGENET1K_FEATURES)."""
    bad = [key for key, tensor in body.state_dict().items() if not tensor.isfinite().all()]
    if bad:
        raise BadInputError(
            f"model.weights: {weights} of {name} has no usable numbers (NaN or infinite) in {', '.join(bad[:3])}",
            "Choose other weights.",
        )


def _require_the_same(body: nn.Module, record: NetworkRecord) -> None:
    """The same tensors through other code of the user's would give features that fit nothing that is kept."""
    if not soundness.is_the_same(soundness.first_look(body, spec_of(record)), record.marks):
        raise DalcliError(
            f"{record.name} gives other features than when this workspace adopted it: its code has changed",
            "Restore its code, or start a new workspace: features that are kept and models would not fit the new ones.",
        )


def _fingerprint(name: str, recipe: Recipe, body: nn.Module) -> str:
    digest = hashlib.sha256()
    for key, tensor in sorted(body.state_dict().items()):
        if key.endswith(fitting.COUNTER):  # it counts training steps and changes no feature
            continue
        digest.update(json.dumps([key, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    content = [NETWORK_VERSION, name, dataclasses.asdict(recipe), digest.hexdigest()]
    return short_hash(json.dumps(content, sort_keys=True))


def _path(folder: Path, record: NetworkRecord) -> Path:
    return folder / f"{record.fingerprint}.safetensors"


def _restore(model: nn.Module, tensors: Mapping[str, Tensor], record: NetworkRecord) -> None:
    expected = model.state_dict()
    problems = fitting.differences(expected, tensors, frozenset())
    if problems:
        raise DalcliError(
            f"{record.name} is not the network any more that this workspace was made with: {'; '.join(problems[:3])}"
            f"{'; ...' if len(problems) > 3 else ''}",
            "Restore its code, or the version of the package that it comes from, or start a new workspace.",
        )
    load_state(model, OrderedDict((name, tensors[name]) for name in expected))
