"""Finding the head in every family, and catching what goes into it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from dalcli.models import dry_run, torchvision_models, zoo
from dalcli.models.head import find_head, penultimate
from dalcli.models.spec import ModelSpec

FAMILIES = {
    "alexnet": "classifier.6",
    "vgg16_bn": "classifier.6",
    "resnet34": "fc",
    "resnext50_32x4d": "fc",
    "densenet121": "classifier",
    "squeezenet1_0": "classifier.1",
    "mobilenet_v2": "classifier.1",
    "mobilenet_v3_large": "classifier.3",
    "shufflenet_v2_x1_0": "fc",
    "efficientnet_b0": "classifier.1",
    "efficientnet_v2_s": "classifier.1",
    "regnet_y_400mf": "fc",
    "mnasnet0_5": "classifier.1",
    "googlenet": "fc",
    "inception_v3": "fc",
    "convnext_tiny": "classifier.2",
    "vit_b_16": "heads.head",
    "swin_t": "head",
    "swin_v2_t": "head",
    "maxvit_t": "classifier.5",
}


@pytest.mark.parametrize(("name", "head"), FAMILIES.items())
@pytest.mark.parametrize("classes", [2, 512])  # 512: a width that inner layers have, too
def test_the_head_is_found_and_its_input_has_one_row_per_image(name: str, head: str, classes: int) -> None:
    with dry_run.without_weights():
        model = torchvision_models.build(ModelSpec(name, classes, (224, 224))).to("meta").eval()
    assert find_head(model, classes) == head
    layer = model.get_submodule(head)
    width = layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
    with penultimate(model, classes) as features, torch.no_grad():
        logits = model(torch.empty(2, 3, 224, 224, device="meta"))
        assert features.take(logits).shape == (2, width)


@pytest.mark.parametrize(("name", "head"), [("cnn", "head"), ("resnet18", "fc"), ("vgg11", "head")])
def test_features_times_head_weights_are_the_logits(name: str, head: str) -> None:
    model = zoo.build(ModelSpec(name, 4, (32, 32), dropout=0.3), seed=0).eval()
    with penultimate(model, 4) as features, torch.no_grad():
        for _ in range(2):
            logits = model(torch.randn(3, 3, 32, 32))
            captured = features.take(logits)
            layer = model.get_submodule(head)
            assert find_head(model, 4) == head
            assert captured.dtype == torch.float32
            torch.testing.assert_close(captured @ layer.weight.T + layer.bias, logits)  # type: ignore[operator, union-attr]
    assert not layer._forward_pre_hooks


def test_squeezenet_features_are_averaged_over_positions() -> None:
    model = zoo.build(ModelSpec("squeezenet1_1", 3, (64, 64)), seed=0).eval()
    with penultimate(model, 3) as features, torch.no_grad():
        logits = model(torch.randn(2, 3, 64, 64))
        captured = features.take(logits)
    head = model.get_submodule("classifier.1")
    assert captured.shape == (2, 512)
    # without a ReLU behind it the head is linear, so averaging commutes with it
    expected = captured @ head.weight[:, :, 0, 0].T + head.bias  # type: ignore[index, operator, union-attr]
    torch.testing.assert_close(expected, logits)


class Headless(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(12, 3))

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1) @ self.weight


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(12, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(images.flatten(1)) + self.head(images.flatten(1) ** 2)


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(images.flatten(2).mT).mean(1)


@pytest.mark.parametrize("model", [Headless(), Twice()])
def test_without_a_head_called_once_the_features_are_the_logits(model: nn.Module) -> None:
    with penultimate(model, 3) as features, torch.no_grad():
        logits = model(torch.randn(5, 3, 2, 2))
        assert torch.equal(features.take(logits), logits)


def test_a_head_on_tokens_gives_their_average() -> None:
    images = torch.randn(5, 3, 2, 2)
    model = Tokens()
    with penultimate(model, 3) as features, torch.no_grad():
        captured = features.take(model(images))
    torch.testing.assert_close(captured, images.mean((2, 3)))


def test_there_is_no_head_without_a_layer_of_that_width() -> None:
    assert find_head(Headless(), 3) is None
    assert find_head(nn.Sequential(nn.Linear(3, 4), nn.Conv2d(3, 3, 3)), 3) is None
