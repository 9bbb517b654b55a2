"""ResNet18 with a stem for small images (3×3, stride 1, no pooling) or ImageNet's."""

from __future__ import annotations

from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet

from dalcli.models.spec import ModelSpec

SMALLEST = 1  # pixels: every strided convolution is padded
TORCHVISION_NAME = "resnet18"


def build(spec: ModelSpec) -> nn.Module:
    """torchvision's ResNet18; parameter names match its pretrained weights (``fc`` is the head)."""
    model = ResNet(BasicBlock, [2, 2, 2, 2], num_classes=spec.num_classes)
    if spec.stem == "small":
        model.conv1 = nn.Conv2d(3, 64, 3, stride=1, padding=1, bias=False)
        nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
        model.maxpool = nn.Identity()
    if spec.dropout:
        model.avgpool = nn.Sequential(model.avgpool, nn.Dropout(spec.dropout))  # keeps the head's name: fc
    return model  # type: ignore[no-any-return]  # torchvision is untyped
