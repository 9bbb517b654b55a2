"""Start from weights somebody else trained: a local safetensors file, or those that torchvision publishes."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from dalcli.feedback import Feedback, SilentFeedback
from dalcli.models import fitting, published, weights_file, weights_reader
from dalcli.models.head import find_head
from dalcli.models.preprocess import IMAGENET, PixelStats
from dalcli.models.spec import ModelSpec, is_weights_file
from dalcli.models.weights_reader import State


def load(
    model: nn.Module,
    spec: ModelSpec,
    folder: Path | None = None,
    downloads: Path | None = None,
    feedback: Feedback | None = None,
) -> tuple[str, ...]:
    """Put ``spec.weights`` into a freshly built ``model``; without ``spec.weights`` nothing happens.

    The head keeps its fresh weights where the file has another number of classes, and always with torchvision's
    (their classes are ImageNet's). ``folder`` is what a relative file name is relative to; ``downloads`` where
    downloads go (default: torch's own cache, which is looked into first in any case), and ``feedback`` shows them.

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
        state, foreign_head = weights_reader.read(path), False
    else:
        weights = published.named(spec, spec.weights)
        state, foreign_head = published.state(weights, downloads, feedback or SilentFeedback()), True
    state = fitting.adapted(state, spec, model)
    fresh = _drop_head(state, model, head, foreign_head)
    fitting.fill(model, state, spec.name, spec.weights, fresh)
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
        published.named(spec, spec.weights)
    else:
        weights_file.require((folder or Path()) / spec.weights)


def pixel_stats(spec: ModelSpec) -> PixelStats | None:
    """The normalisation pretrained weights expect (ImageNet's, the convention); None: measure the pool's own."""
    return None if spec.weights is None else IMAGENET


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
