"""Caltech101 (Fei-Fei et al. 2004): 8,677 photographs in 101 folders, fetched by torchvision if they are not there."""

from __future__ import annotations

from dalcli.simulation.schema import SourceConfig
from dalcli.simulation.sources.base import LabeledImage
from dalcli.simulation.sources.folder import labeled_folder
from dalcli.simulation.sources.torchvision_sets import explained, open_set

BACKGROUND = "BACKGROUND_Google"  # no category: torchvision and the paper leave it out


class Caltech101:
    """The photographs are files already and stay where they are; there is no test split of its own."""

    takes: tuple[str, ...] = ("path", "download")

    def find(self, config: SourceConfig) -> list[LabeledImage]:
        assert config.path is not None
        folder = config.path / "caltech101" / "101_ObjectCategories"
        if not folder.is_dir():
            with explained("caltech101", config.path):
                from torchvision.datasets import Caltech101 as Downloaded
            open_set("caltech101", Downloaded, config.path, config.download)
        return labeled_folder(folder, None, without=(BACKGROUND,))
