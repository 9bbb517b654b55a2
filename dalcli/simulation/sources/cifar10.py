"""CIFAR10 (Krizhevsky 2009): 50,000 and 10,000 photographs of 32×32 pixels, read by torchvision."""

from __future__ import annotations

from collections.abc import Iterator

from dalcli.data.found import Split
from dalcli.simulation.schema import SourceConfig
from dalcli.simulation.sources.base import LabeledPixels, as_uint8
from dalcli.simulation.sources.torchvision_sets import explained, open_set

_PARTS: tuple[tuple[Split, bool], ...] = (("training", True), ("evaluation", False))


class Cifar10:
    """Its own test batch is the test set."""

    takes: tuple[str, ...] = ("path", "download")

    def images(self, config: SourceConfig) -> Iterator[LabeledPixels]:
        assert config.path is not None
        with explained("cifar10", config.path):
            from torchvision.datasets import CIFAR10
        for split, train in _PARTS:
            data = open_set("cifar10", CIFAR10, config.path, config.download, train=train)
            for index, (pixels, label) in enumerate(zip(data.data, data.targets, strict=True)):
                yield LabeledPixels(f"{split}-{index:05d}", as_uint8(pixels), data.classes[label], split)
