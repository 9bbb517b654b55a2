"""VGG11 with batch normalisation and a single linear layer, as in the paper."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn
from torchvision.models.vgg import cfgs, make_layers

from dalcli.models.spec import ModelSpec

SMALLEST = 32  # pixels: five 2×2 poolings
TORCHVISION_NAME = "vgg11_bn"


def build(spec: ModelSpec) -> nn.Module:
    """torchvision's VGG11-BN features, pooled to 1×1 (nothing to pool at 32×32), and one linear layer.

    Global pooling keeps the head at 512 inputs whatever the image size, where VGG's own 7×7 grid and three
    linear layers would have 120 million parameters.
    """
    features = make_layers(cfgs["A"], batch_norm=True)
    for module in features:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]  # VGG convolutions have one
    return nn.Sequential(
        OrderedDict(
            features=features,
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            dropout=nn.Dropout(spec.dropout),
            head=nn.Linear(512, spec.num_classes),
        )
    )
