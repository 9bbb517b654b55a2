"""A CSV with ``path`` and ``label``, and maybe ``split``."""

from __future__ import annotations

from dalcli.data.manifest import read_manifest
from dalcli.errors import BadInputError
from dalcli.simulation.schema import SourceConfig
from dalcli.simulation.sources.base import LabeledImage


class Manifest:
    """Rows without a label are left out: nobody could answer for them."""

    takes: tuple[str, ...] = ("path",)

    def find(self, config: SourceConfig) -> list[LabeledImage]:
        assert config.path is not None
        found = read_manifest(config.path)
        images = [LabeledImage(image.path, image.label, image.split) for image in found if image.label is not None]
        if not images:
            raise BadInputError(f"{config.path}: no row has a label", "a simulation needs to know the labels")
        return images
