"""SVHN (Netzer et al. 2011), cropped house numbers of 32×32 pixels: 73,257 and 26,032, read by torchvision."""

from __future__ import annotations

from collections.abc import Iterator

from dalcli.data.found import Split
from dalcli.simulation.schema import SourceConfig
from dalcli.simulation.sources.base import LabeledPixels, as_uint8, missing_package
from dalcli.simulation.sources.torchvision_sets import explained, open_set

_PARTS: tuple[tuple[Split, str], ...] = (("training", "train"), ("evaluation", "test"))


class Svhn:
    """Its own test part is the test set; the extra images are left alone. The files are MATLAB's: needs scipy."""

    takes: tuple[str, ...] = ("path", "download")

    def images(self, config: SourceConfig) -> Iterator[LabeledPixels]:
        assert config.path is not None
        try:
            import scipy.io  # noqa: F401  (torchvision imports it only after the download)
        except ImportError:
            raise missing_package("svhn", "scipy", "datasets") from None
        with explained("svhn", config.path):
            from torchvision.datasets import SVHN
        for split, name in _PARTS:
            data = open_set("svhn", SVHN, config.path, config.download, split=name)
            for index, (pixels, label) in enumerate(zip(data.data, data.labels, strict=True)):
                yield LabeledPixels(f"{split}-{index:05d}", as_uint8(pixels.transpose(1, 2, 0)), str(int(label)), split)
