"""A finished model version, ready to compute with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from dalcli.gradients.kernels import lay_out
from dalcli.models.checkpoint import load_model
from dalcli.models.frozen_head import FrozenHead
from dalcli.models.head import find_head
from dalcli.models.meta import ModelMeta, read_meta
from dalcli.models.spec import ModelSpec
from dalcli.state.versions import ModelVersion
from dalcli.state.workspace import WEIGHTS_NAME, Workspace
from dalcli.workspace.session import Surroundings
from dalcli.workspace.versions import META_NAME


@dataclass(frozen=True)
class LoadedModel:
    """A model on its device, in eval mode, with what is known about it."""

    model: nn.Module
    meta: ModelMeta
    device: torch.device

    @property
    def head(self) -> str | None:
        """Name of the layer that produces the logits, if it can be told."""
        return find_head(self.model, self.meta.spec.num_classes)


def load_version(session: Surroundings, version: ModelVersion, device: torch.device) -> LoadedModel:
    """Read a version's files.

    Raises:
        DalcliError: they are missing or damaged.
    """
    folder = session.workspace.model_folder(version.version)
    meta = read_meta(folder / META_NAME)
    model = build(session.workspace, meta.spec, meta.seed)
    load_model(folder / WEIGHTS_NAME, model)
    model.to(device)
    lay_out(model)  # as scoring wants it: later, kernels would be there twice
    return LoadedModel(model.eval(), meta, device)


def build(workspace: Workspace, spec: ModelSpec, seed: int) -> nn.Module:
    """The model that ``spec`` says, before anything is trained.

    Raises:
        BadInputError: it cannot be built, or cannot take its images.
        DalcliError: the frozen network that it starts from is damaged.
    """
    if spec.frozen is not None:
        return FrozenHead(spec.frozen.dimension, spec.num_classes)
    from dalcli.models import networks, zoo  # they take torchvision with them, which a head can do without

    if spec.origin is None:
        return zoo.build(spec, seed, workspace.root)
    tensors = networks.stored(workspace.networks, spec.origin)
    return networks.whole(spec.origin, tensors, spec.num_classes, seed, workspace.root)
