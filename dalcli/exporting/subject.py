"""What is exported: a model version as one network, and everything that using it takes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from dalcli.data.network import NetworkRecord
from dalcli.data.recipe import Recipe
from dalcli.exporting.architectures import Architecture, architecture_of
from dalcli.exporting.deployed import WithHead
from dalcli.models import networks
from dalcli.models.checkpoint import load_model
from dalcli.models.frozen_head import FrozenHead, put_head
from dalcli.models.frozen_network import FrozenNetwork
from dalcli.models.meta import ModelMeta, read_meta
from dalcli.models.preprocess import PixelStats
from dalcli.state.versions import ModelVersion
from dalcli.state.workspace import WEIGHTS_NAME
from dalcli.workspace.loading import build
from dalcli.workspace.session import Session
from dalcli.workspace.versions import META_NAME


@dataclass(frozen=True)
class Subject:
    """A version on the processor, in eval mode.

    Attributes:
        meta: what is known about it.
        network: from normalised images to logits (n, K), standardisation folded into the last layer where it can be.
        trained: the same as dalcli computes with: all of it, or its head on ``frozen``.
        recipe: what images become; ``stats`` how they are normalised then.
        architecture: how a library builds ``network``; None: none does.
    """

    meta: ModelMeta
    network: nn.Module
    trained: nn.Module
    frozen: FrozenNetwork | None
    recipe: Recipe
    stats: PixelStats
    architecture: Architecture | None


def load(session: Session, version: ModelVersion) -> Subject:
    """Read a version's files.

    Raises:
        DalcliError: they are missing or damaged.
        BadInputError: the network cannot be built any more (a user's function, or timm is gone).
    """
    folder = session.workspace.model_folder(version.version)
    meta = read_meta(folder / META_NAME)
    trained = build(session.workspace, meta.spec, meta.seed)
    load_model(folder / WEIGHTS_NAME, trained)
    trained.requires_grad_(False).eval()
    if isinstance(trained, FrozenHead):
        assert meta.spec.frozen is not None
        return _with_head(session, meta, trained, meta.spec.frozen)
    origin = meta.spec.origin
    size, resize = meta.spec.image_size, session.config.data.resize
    recipe = Recipe(size, resize=resize) if origin is None else origin.recipe
    return Subject(
        meta=meta,
        network=trained,
        trained=trained,
        frozen=None,
        recipe=recipe,
        stats=meta.pixel_stats,
        architecture=architecture_of(meta.spec, recipe),
    )


def _with_head(session: Session, meta: ModelMeta, head: FrozenHead, record: NetworkRecord) -> Subject:
    """One network out of a frozen one and its head."""
    workspace, recipe, count = session.workspace, record.recipe, meta.spec.num_classes
    frozen = networks.read(workspace.networks, record, workspace.root)
    network = networks.whole(record, frozen.tensors(), count, meta.seed, workspace.root)
    one = put_head(network, head, count) and _agree(network, frozen, head)
    network = (network if one else WithHead(frozen.body, head)).requires_grad_(False).eval()
    architecture = architecture_of(meta.spec, recipe) if one else None
    return Subject(
        meta=meta,
        network=network,
        trained=head,
        frozen=frozen,
        recipe=recipe,
        stats=PixelStats(recipe.mean, recipe.std),
        architecture=architecture,
    )


@torch.no_grad()
def _agree(network: nn.Module, frozen: FrozenNetwork, head: FrozenHead) -> bool:
    """Whether the last layer is where the head's weights were put: tried with two random images."""
    images = torch.rand(2, 3, *frozen.record.recipe.image_size, generator=torch.Generator().manual_seed(0))
    expected, found = head(frozen.features(images)), network.eval()(images)
    return found.shape == expected.shape and bool((found - expected).abs().max() <= 1e-3 * (1 + expected.abs().max()))
