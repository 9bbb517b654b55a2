"""A network without its last linear layer: what remains gives features."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from dalcli.errors import BadInputError
from dalcli.models.head import find_head
from dalcli.models.spec import ModelSpec

_CLOSE = 1e-3  # of the largest logit: single precision through a deep network, and no more


def require_head(model: nn.Module, spec: ModelSpec) -> str:
    """Dotted name of the last layer.

    Raises:
        BadInputError: key ``model.name``: there is none.
    """
    head = find_head(model, spec.num_classes)
    if head is None:
        raise BadInputError(
            f"model.name: {spec.name} has no linear layer that makes its logits, so there is none to train alone",
            "Choose another model, or train the whole network: model.train: all.",
        )
    return head


def head_tensors(model: nn.Module, head: str) -> frozenset[str]:
    """Names of the tensors of the last layer."""
    return frozenset(f"{head}.{name}" for name in model.get_submodule(head).state_dict())


def behead(model: nn.Module, spec: ModelSpec) -> None:
    """Put nothing into the place of the last layer: the model gives what entered it, ``(n, d)``.

    The last layer may be a 1×1 convolution whose outputs are averaged over positions (SqueezeNet): that is a linear
    layer on averaged features, and those remain.
    """
    model.set_submodule(require_head(model, spec), nn.Identity())


def behead_if_linear(model: nn.Module, spec: ModelSpec) -> None:
    """:func:`behead`, if the last layer's output is the logits, and nothing else is: tried with two random images.

    Raises:
        BadInputError: key ``model.name``: something else comes after it (a softmax, say) or beside it.
    """
    head = model.get_submodule(require_head(model, spec))
    assert isinstance(head, nn.Linear | nn.Conv2d)
    model.eval()
    images = torch.rand(2, 3, *spec.image_size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = model(images)
        behead(model, spec)
        features = model(images)
    if logits.isfinite().all() and not _gives(head, features, logits):
        raise BadInputError(
            f"model.name: the logits of {spec.name} are not what its last linear layer gives, so that layer cannot be "
            "trained alone",
            "The model must return what its last linear layer makes of one vector for each image, unchanged.",
        )


def _gives(head: nn.Linear | nn.Conv2d, features: object, logits: Tensor) -> bool:
    """Whether ``head`` makes ``logits`` (2, K) of ``features``."""
    if not isinstance(features, Tensor) or features.numel() != 2 * head.weight.shape[1]:
        return False
    with torch.no_grad():
        again = functional.linear(features.flatten(1), head.weight.flatten(1), head.bias)
    return bool((again - logits).abs().max() <= _CLOSE * logits.abs().max())
