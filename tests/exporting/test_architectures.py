"""The lines of Python in an example build the network that dalcli trained: the same tensors, the same logits."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from dalcli.data.network import NetworkRecord
from dalcli.data.recipe import Recipe
from dalcli.exporting.architectures import architecture_of
from dalcli.models import networks, timm_models, zoo
from dalcli.models.spec import ModelSpec

timm = pytest.importorskip("timm", reason="timm is not installed (pip install 'dalcli[timm]')")


def built(spec: ModelSpec, recipe: Recipe) -> torch.nn.Module:
    """What the lines make."""
    architecture = architecture_of(spec, recipe)
    assert architecture is not None
    names: dict[str, torch.nn.Module] = {"torch": torch}  # type: ignore[dict-item]
    exec("\n".join((*architecture.imports, *architecture.lines)), names)
    return names["network"]


def same(theirs: torch.nn.Module, ours: torch.nn.Module, size: tuple[int, int]) -> None:
    theirs.load_state_dict(dict(ours.state_dict()), strict=True)
    images = torch.randn(2, 3, *size)
    with torch.no_grad():
        torch.testing.assert_close(theirs.eval()(images), ours.eval()(images), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "side", "stem"),
    [
        ("cnn", 9, "small"),
        ("resnet18", 32, "small"),
        ("resnet18", 64, "large"),
        ("vgg11", 32, "small"),
        ("mobilenet_v3_small", 64, "small"),
        ("squeezenet1_1", 64, "small"),
        ("googlenet", 64, "small"),
        ("vit_b_32", 64, "small"),
    ],
)
def test_networks_that_are_trained_as_a_whole(name: str, side: int, stem: str) -> None:
    spec = ModelSpec(name, 4, (side, side), stem=stem)  # type: ignore[arg-type]
    if name in zoo.OWN:
        spec = dataclasses.replace(spec, dropout=0.3)
    same(built(spec, Recipe((side, side))), zoo.build(spec, 1), (side, side))


@pytest.mark.parametrize(
    ("name", "size"),
    [("timm:tf_efficientnet_lite0", (64, 64)), ("timm:vit_tiny_patch16_224", (64, 96)), ("resnet18", (64, 64))],
)
def test_frozen_networks(name: str, size: tuple[int, int]) -> None:
    recipe = Recipe(size)
    record = NetworkRecord(name, "DEFAULT", "0" * 16, 1, recipe)
    if name.startswith("timm:"):
        ours = timm_models.build(timm_models.config(name), size, 4)
    else:
        ours = zoo.build(networks.spec_of(record).with_classes(4), 0)
    same(built(ModelSpec(name, 4, size, frozen=record), recipe), ours, size)
    same(built(ModelSpec(name, 4, size, origin=record), recipe), ours, size)
