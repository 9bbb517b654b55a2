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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from dalcli.config.hashing import short_hash
from dalcli.data.network import NetworkRecord
from dalcli.data.recipe import Recipe
from dalcli.errors import BadInputError, DalcliError
from dalcli.feedback import Feedback, SilentFeedback
from dalcli.models import (
    fitting,
    published,
    timm_models,
    torchvision_models,
    user_models,
    weights_file,
    weights_reader,
    zoo,
)
from dalcli.models.beheading import behead, behead_if_linear, head_tensors, require_head
from dalcli.models.checkpoint import load_state
from dalcli.models.folding import folded
from dalcli.models.spec import ModelSpec, is_timm, is_weights_file
from dalcli.models.tensorfile import DamagedFileError, read_tensors, write_tensors

NETWORK_VERSION = 1  # to be raised whenever the same tensors and recipe would give other features
DEFAULT = timm_models.DEFAULT

_CLASSES = 1000  # networks are built with so many before their last layer is taken off: ImageNet's


class FrozenNetwork(nn.Module):
    """Maps normalised images ``(n, 3, H, W)`` float32 to features ``(n, d)`` float32: in eval mode, without gradients.

    Attributes:
        record: what it is.
        body: the network without its last layer.
        notes: what the user should know of how it was loaded.
    """

    place: Tensor

    def __init__(self, record: NetworkRecord, body: nn.Module, notes: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.record = record
        self.notes = notes
        self.body = body
        self.register_buffer("place", torch.empty(0), persistent=False)  # a body may have no tensor that tells
        self.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> FrozenNetwork:
        """Stays in eval mode, whatever is asked for."""
        super().train(False)
        return self

    @property
    def device(self) -> torch.device:
        """Where its tensors are."""
        return self.place.device

    def features(self, inputs: Tensor) -> Tensor:
        """Features of normalised images, what would enter the last layer; rows do not depend on each other."""
        with torch.no_grad():
            return _as_rows(self.body(inputs))

    def forward(self, inputs: Tensor) -> Tensor:
        """As :meth:`features`."""
        return self.features(inputs)

    def quicker(self) -> FrozenNetwork:
        """The same features to rounding, in less time; only that: its tensors are not to be kept."""
        return FrozenNetwork(self.record, folded(self.body, self.record.recipe.image_size), self.notes)

    def tensors(self) -> dict[str, Tensor]:
        """Everything the features are made with, by name."""
        return dict(self.body.state_dict())


def check(name: str, weights: str | None, folder: Path) -> None:
    """Refuse a network or weights that do not exist, without reading, downloading or building anything large.

    Args:
        name, weights, folder: see :func:`load`.

    Raises:
        BadInputError: key ``model.name`` or ``model.weights``.
    """
    _source(name, weights or DEFAULT, folder)
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
    source = _source(name, asked, folder)
    recipe = source.recipe if image_size is None else dataclasses.replace(source.recipe, image_size=image_size)
    state = source.state(downloads, feedback or SilentFeedback())
    body, notes = _body(name, asked, state, recipe, folder)
    dimension = _dimension(body, _spec(name, recipe.image_size))
    _require_numbers(body, name, asked)
    record = NetworkRecord(name, asked, _fingerprint(name, recipe, body), dimension, recipe)
    return FrozenNetwork(record, body, (*source.notes, *notes))


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
    spec = _spec(record.name, record.recipe.image_size).with_classes(num_classes)
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


@dataclass(frozen=True)
class _Source:
    """Weights that are known to be meant, not read yet: how they want their images, and how to get them."""

    recipe: Recipe
    state: Callable[[Path, Feedback], weights_reader.State]
    notes: tuple[str, ...] = ()


def _source(name: str, weights: str, folder: Path) -> _Source:
    """What ``weights`` means for the network ``name``; BadInputError where that is nothing."""
    if not is_timm(name):
        zoo.check_name(name, folder)
    file = is_weights_file(weights)
    from_file = partial(_read_file, folder / weights)
    if is_timm(name):
        found = timm_config(name, weights)
        return _Source(timm_models.recipe(found), from_file if file else partial(timm_models.state, found))
    if user_models.is_user_model(name):
        _require_file(name, weights)
        return _Source(user_models.recipe(name, folder), from_file)
    if not file:
        member = published.named(_spec(name, (224, 224)), weights)
        return _Source(published.recipe(member), partial(published.state, member))
    member = published.behind_file(name, Path(weights))
    recipe = Recipe((224, 224)) if member is None else published.recipe(member)
    like = "ImageNet's networks" if member is None else f"torchvision's {member.name} of {name}"
    return _Source(recipe, from_file, (f"{weights} is taken to want images as {like} do",))


def _read_file(path: Path, downloads: Path, feedback: Feedback) -> weights_reader.State:
    """A local file; nothing to download."""
    return weights_reader.read(path, pickled=True)


def _require_file(name: str, weights: str) -> None:
    if not is_weights_file(weights):
        raise BadInputError(
            f"model.weights: {name} needs a file of weights; {weights} is none",
            "Give a .safetensors or .pth file of its state dict, relative to the workspace.",
        )


def timm_config(name: str, weights: str) -> timm_models.Config:
    """timm's description of the network; a file's is that of timm's own choice of weights."""
    return timm_models.config(name, DEFAULT if is_weights_file(weights) else weights)


def _body(
    name: str, weights: str, state: weights_reader.State, recipe: Recipe, folder: Path
) -> tuple[nn.Module, tuple[str, ...]]:
    """The network without its last layer and with the tensors of ``state``; notes for the user."""
    spec = _spec(name, recipe.image_size)
    if is_timm(name):
        with _size_fits(spec):
            return timm_models.body(timm_config(name, weights), state, recipe.image_size, weights)
    model = zoo.build(spec, 0, folder)
    notes = _fill(model, fitting.adapted(state, spec, model), spec, weights)
    behead_if_linear(model, spec)
    return model, notes


def _fill(model: nn.Module, state: weights_reader.State, spec: ModelSpec, weights: str) -> tuple[str, ...]:
    """Load all but the last layer, by name or else by order; notes for the user."""
    head = head_tensors(model, require_head(model, spec))
    try:
        fitting.fill(model, _without(state, head), spec.name, weights, head)
    except BadInputError:
        renamed = fitting.renamed_by_order(state, model.state_dict(), head)
        if renamed is None:
            raise
        fitting.fill(model, _without(renamed, head), spec.name, weights, head)
        return (fitting.order_note(weights, spec.name),)
    return ()


def _without(state: weights_reader.State, names: frozenset[str]) -> weights_reader.State:
    kept = OrderedDict((name, tensor) for name, tensor in state.items() if name not in names)
    kept._metadata = getattr(state, "_metadata", None)  # type: ignore[attr-defined]  # where load_state_dict looks
    return kept


def _bare(record: NetworkRecord, workspace: Path | None) -> nn.Module:
    """The network without its last layer and with any weights."""
    spec = _spec(record.name, record.recipe.image_size)
    if is_timm(record.name):
        return timm_models.build(timm_config(record.name, record.weights), spec.image_size)
    model = zoo.build(spec, 0, workspace)
    behead(model, spec)
    return model


def spec_of(record: NetworkRecord) -> ModelSpec:
    """What :func:`whole` builds, with ImageNet's number of classes."""
    return _spec(record.name, record.recipe.image_size)


def _spec(name: str, image_size: tuple[int, int]) -> ModelSpec:
    return ModelSpec(name, _CLASSES, image_size, stem="large", weights=DEFAULT)


@contextmanager
def _size_fits(spec: ModelSpec) -> Iterator[None]:
    """What goes wrong with images meanwhile is because of their size: BadInputError, key ``data.image_size``."""
    try:
        yield
    except (RuntimeError, ValueError, AssertionError) as error:  # what layers raise
        raise torchvision_models.image_size_error(spec, str(error)) from error


def _dimension(body: nn.Module, spec: ModelSpec) -> int:
    body.eval()
    with _size_fits(spec), torch.no_grad():
        features = _as_rows(body(torch.zeros(2, 3, *spec.image_size)))
    if len(features) != 2:
        raise BadInputError(
            f"model.name: {spec.name} does not give one vector for each image", "Choose one that classifies images."
        )
    return features.shape[1]


def _as_rows(features: Tensor) -> Tensor:
    return features.flatten(1).float()


def _require_numbers(body: nn.Module, name: str, weights: str) -> None:
    """Some published files hold NaN where nothing was trained (vgg16's IMAGENET1K_FEATURES)."""
    bad = [key for key, tensor in body.state_dict().items() if not tensor.isfinite().all()]
    if bad:
        raise BadInputError(
            f"model.weights: {weights} of {name} has no usable numbers (NaN or infinite) in {', '.join(bad[:3])}",
            "Choose other weights.",
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
