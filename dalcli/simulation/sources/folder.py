"""A folder per class, and maybe another such folder that is the test set."""

from __future__ import annotations

from pathlib import Path

from dalcli.config.words import counted
from dalcli.data.folders import search_folder
from dalcli.data.found import Split
from dalcli.errors import BadInputError
from dalcli.simulation.schema import SourceConfig
from dalcli.simulation.sources.base import LabeledImage


class Folder:
    """``path/CLASS/...``, ``test/CLASS/...``."""

    takes: tuple[str, ...] = ("path", "test")

    def find(self, config: SourceConfig) -> list[LabeledImage]:
        assert config.path is not None
        if config.test is None:
            return labeled_folder(config.path, None)
        return labeled_folder(config.path, "training") + labeled_folder(config.test, "evaluation")


def labeled_folder(folder: Path, split: Split | None, without: tuple[str, ...] = ()) -> list[LabeledImage]:
    """The images below ``folder``: the first folder is the class.

    Raises:
        BadInputError: it is not there, or an image has no class.
    """
    if not folder.is_dir():
        raise BadInputError(f"{folder}: no such folder", "name a folder with one folder per class")
    images = search_folder(folder, labels_from_folders=True).images
    bare = [image.path.name for image in images if image.label is None]
    if bare or not images:
        some = counted(len(bare), "image is", "images are")
        found = f"{some} in no class folder, e.g. {bare[0]}" if bare else "no images found"
        raise BadInputError(f"{folder}: {found}", "make one folder per class: FOLDER/cat/1.png")
    return [
        LabeledImage(image.path, image.label, split)
        for image in images
        if image.label is not None and image.label not in without
    ]
