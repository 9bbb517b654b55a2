"""What a network's name and its weights mean together: where the tensors come from, and the body they are put into."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import nn

from dalcli.data.recipe import Recipe
from dalcli.errors import BadInputError
from dalcli.feedback import Feedback
from dalcli.models import (
    fitting,
    published,
    timm_models,
    torchvision_models,
    user_models,
    weights_reader,
    zoo,
)
from dalcli.models.beheading import behead_if_linear, head_tensors, require_head
from dalcli.models.spec import ModelSpec, is_timm, is_weights_file

DEFAULT = timm_models.DEFAULT

_CLASSES = 1000  # networks are built with so many before their last layer is taken off: ImageNet's


@dataclass(frozen=True)
class Source:
    """Weights that are known to be meant, not read yet: how they want their images, and how to get them."""

    recipe: Recipe
    state: Callable[[Path, Feedback], weights_reader.State]
    notes: tuple[str, ...] = ()


def source_of(name: str, weights: str, folder: Path) -> Source:
    """What ``weights`` means for the network ``name``.

    Raises:
        BadInputError: key ``model.name`` or ``model.weights``: nothing.
    """
    if not is_timm(name):
        zoo.check_name(name, folder)
    file = is_weights_file(weights)
    from_file = partial(_read_file, folder / weights)
    if is_timm(name):
        found = timm_config(name, weights)
        return Source(timm_models.recipe(found), from_file if file else partial(timm_models.state, found))
    if user_models.is_user_model(name):
        _require_file(name, weights)
        return Source(user_models.recipe(name, folder), from_file)
    if not file:
        member = published.named(spec_named(name, (224, 224)), weights)
        return Source(published.recipe(member), partial(published.state, member))
    member = published.behind_file(name, Path(weights))
    recipe = Recipe((224, 224)) if member is None else published.recipe(member)
    like = "ImageNet's networks" if member is None else f"torchvision's {member.name} of {name}"
    return Source(recipe, from_file, (f"{weights} is taken to want images as {like} do",))


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


def body_from(
    name: str, weights: str, state: weights_reader.State, recipe: Recipe, folder: Path
) -> tuple[nn.Module, tuple[str, ...]]:
    """The network without its last layer and with the tensors of ``state``; notes for the user.

    Raises:
        BadInputError: key ``model.weights`` or ``data.image_size``: they do not fit it.
    """
    spec = spec_named(name, recipe.image_size)
    if is_timm(name):
        with size_fits(spec):
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
        found = fitting.renamed(state, model.state_dict(), head, weights, spec.name)
        if found is None:
            raise
        fitting.fill(model, _without(found[0], head), spec.name, weights, head)
        return (found[1],)
    return ()


def _without(state: weights_reader.State, names: frozenset[str]) -> weights_reader.State:
    kept = OrderedDict((name, tensor) for name, tensor in state.items() if name not in names)
    kept._metadata = getattr(state, "_metadata", None)  # type: ignore[attr-defined]  # where load_state_dict looks
    return kept


def spec_named(name: str, image_size: tuple[int, int]) -> ModelSpec:
    """A network as ImageNet's weights were published for it."""
    return ModelSpec(name, _CLASSES, image_size, stem="large", weights=DEFAULT)


@contextmanager
def size_fits(spec: ModelSpec) -> Iterator[None]:
    """What goes wrong with images meanwhile is because of their size: BadInputError, key ``data.image_size``."""
    try:
        yield
    except (RuntimeError, ValueError, AssertionError) as error:  # what layers raise
        raise torchvision_models.image_size_error(spec, str(error)) from error
