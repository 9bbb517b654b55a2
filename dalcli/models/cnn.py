"""The paper's vanilla CNN: three 3×3 convolutions, global average pooling, one linear layer."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from dalcli.models.spec import ModelSpec

SMALLEST = 1  # pixels: padded convolutions and global pooling take any size


def build(spec: ModelSpec) -> nn.Module:
    """3→32→64→128 channels at full resolution (94,538 parameters for 10 classes)."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 32, 3, padding=1),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(32, 64, 3, padding=1),
            relu2=nn.ReLU(),
            conv3=nn.Conv2d(64, 128, 3, padding=1),
            relu3=nn.ReLU(),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            dropout=nn.Dropout(spec.dropout),
            head=nn.Linear(128, spec.num_classes),
        )
    )
