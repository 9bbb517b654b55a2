"""Whether a network gives features that can be used, tried with noise before a workspace adopts it."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from dalcli.errors import BadInputError
from dalcli.models.frozen_network import as_rows
from dalcli.models.network_sources import size_fits
from dalcli.models.spec import ModelSpec
from dalcli.models.user_models import is_user_model, users_code

_CLOSE = 1e-3
"""Of an image's largest feature: single precision, through deep networks and other batches."""
_DIFFERENT = 1e-5
"""Of the largest feature: what different images differ by at least."""
_SHOWN = 16
"""Features of the first image that tell networks apart."""


def first_look(body: nn.Module, spec: ModelSpec) -> Tensor:
    """Features of two images of noise, always the same. (2, d)

    Raises:
        BadInputError: keys ``model.name``, ``data.image_size``: it gives none.
    """
    features = _seen(body, spec, _noise(spec)[:2])
    if len(features) != 2:
        raise BadInputError(
            f"model.name: {spec.name} does not give one vector for each image", "Choose one that classifies images."
        )
    return features


def probe(body: nn.Module, spec: ModelSpec, weights: str) -> tuple[Tensor, tuple[str, ...]]:
    """The :func:`first_look`, and what the user should know of it.

    Raises:
        BadInputError: keys ``model.name``, ``model.weights``, ``data.image_size``: the features cannot be used.
    """
    features, noise = first_look(body, spec), _noise(spec)
    # Beside a bright image and beside a dark one.
    beside = [_seen(body, spec, torch.stack([noise[0], noise[2] + shift]))[0] for shift in (2.0, -2.0)]
    if not features.isfinite().all():
        raise BadInputError(
            f"model.weights: {weights} of {spec.name} gives features that are no numbers (NaN or infinite)",
            "Choose other weights; a variance of 0 or below in a batch normalisation does this, for one.",
        )
    largest = float(features.abs().max())
    own = float(features[0].abs().max())
    if any(float((each - features[0]).abs().max()) > _CLOSE * own for each in beside):
        raise BadInputError(
            f"model.name: what {spec.name} gives for an image depends on the other images of its batch",
            "Batch normalisation must use its stored statistics (track_running_stats, eval mode), and nothing else may "
            "look at a whole batch.",
        )
    if float((features[0] - features[1]).abs().max()) <= _DIFFERENT * largest:
        return features, (
            f"{spec.name} with {weights} gives the same features for any image: was it ever trained, and do the "
            "weights fit?",
        )
    return features, ()


def _noise(spec: ModelSpec) -> Tensor:
    return torch.randn(3, 3, *spec.image_size, generator=torch.Generator().manual_seed(0))


def _seen(body: nn.Module, spec: ModelSpec, images: Tensor) -> Tensor:
    """What anybody's code gives for some images; what goes wrong is an error of its own, or of the images' size."""
    body.eval()
    with size_fits(spec), users_code(spec.name) if is_user_model(spec.name) else nullcontext(), torch.no_grad():
        return as_rows(body(images))


def marks(features: Tensor) -> tuple[float, ...]:
    """Some of the features of :func:`first_look`, by which a network is known again."""
    return tuple(float(value) for value in features[0, :_SHOWN])


def is_the_same(features: Tensor, marks: tuple[float, ...]) -> bool:
    """Whether a network that gives ``features`` now gave ``marks`` then, but for rounding."""
    known = torch.tensor(marks)
    now = features[0, :_SHOWN].cpu()
    return now.shape == known.shape and bool((now - known).abs().max() <= _CLOSE * float(known.abs().max()) + 1e-30)
