"""Small members of torchvision's families, and the product's own models, against float64 autograd.

Families as they ship, at their smallest legal inputs, are in ``benchmarks/exactness.py``.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from gradient_cases import check_exact, fallen, seeded, settle
from torch import nn
from torchvision.models import convnext, densenet, maxvit, mobilenetv2, resnet, squeezenet, swin_transformer, vgg
from torchvision.models import vision_transformer as vit

from dalcli.models import zoo
from dalcli.models.spec import ModelSpec

CLASSES = 5


def _resnet() -> nn.Module:
    return resnet.ResNet(resnet.Bottleneck, [1, 1, 1, 1], CLASSES, groups=2, width_per_group=8)


def _vgg() -> nn.Module:
    features = vgg.make_layers([8, "M", 16, "M", 16, "M", 32, "M"], batch_norm=True)
    model = vgg.VGG(features, CLASSES)
    model.avgpool, model.classifier = nn.AdaptiveAvgPool2d(1), nn.Linear(32, CLASSES)
    return model


def _convnext() -> nn.Module:
    blocks = [convnext.CNBlockConfig(8, 16, 1), convnext.CNBlockConfig(16, None, 1)]
    return convnext.ConvNeXt(blocks, layer_scale=0.5, num_classes=CLASSES)


def _vit() -> nn.Module:
    return vit.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=CLASSES)


def _swin() -> nn.Module:
    return swin_transformer.SwinTransformer([4, 4], 8, [2, 2], [2, 2], [2, 2], num_classes=CLASSES)


def _swin2() -> nn.Module:
    return swin_transformer.SwinTransformer(
        [4, 4],
        8,
        [2],
        [2],
        [2, 2],
        num_classes=CLASSES,
        block=swin_transformer.SwinTransformerBlockV2,
        downsample_layer=swin_transformer.PatchMergingV2,
    )


def _maxvit() -> nn.Module:
    return maxvit.MaxVit((32, 32), 8, 2, [8, 16], [1, 1], 4, 0.1, num_classes=CLASSES)


FAMILIES: dict[str, Callable[[], nn.Module]] = {
    "resnet": _resnet,
    "vgg": _vgg,
    "densenet": lambda: densenet.DenseNet(4, (2, 2), 8, num_classes=CLASSES),
    "memory-saving densenet": lambda: densenet.DenseNet(4, (2, 2), 8, num_classes=CLASSES, memory_efficient=True),
    "mobilenet": lambda: mobilenetv2.MobileNetV2(CLASSES, 0.25),
    "squeezenet": lambda: squeezenet.SqueezeNet("1_1", CLASSES),
    "convnext": _convnext,
    "vit": _vit,
    "swin": _swin,
    "swin, padded to one window": lambda: swin_transformer.SwinTransformer(
        [4, 4], 8, [2, 2], [2, 2], [7, 7], num_classes=CLASSES
    ),
    "swin v2": _swin2,
    "maxvit": _maxvit,
}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_scored_exactly_without_the_fallback(family: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = settle(FAMILIES[family]())
    engine = check_exact(model, torch.randn(2, 3, 32, 32, generator=seeded()))
    assert fallen(engine) == set()
    assert engine.notes == []


@pytest.mark.parametrize("name", ["cnn", "resnet18"])
def test_the_products_models_are_scored_exactly_by_rules_alone(name: str) -> None:
    model = settle(zoo.build(ModelSpec(name=name, num_classes=CLASSES, image_size=(16, 16)), seed=1))
    engine = check_exact(model, torch.randn(2, 3, 16, 16, generator=seeded()))
    assert fallen(engine) == set()
    assert engine.notes == []
