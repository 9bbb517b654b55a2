"""The labeled part of a workspace: what the loop would have done with the labels that were paid for."""

from __future__ import annotations

from dalcli.errors import BadInputError
from dalcli.simulation.schema import SourceConfig
from dalcli.simulation.sources.base import LabeledImage
from dalcli.state import catalog, classes, ledger
from dalcli.state.catalog import Purpose
from dalcli.state.database import Database
from dalcli.state.workspace import find

_PURPOSES: tuple[Purpose, ...] = ("training", "evaluation")


class ExistingWorkspace:
    """Its evaluation labels are the test set, if there are any."""

    takes: tuple[str, ...] = ("path",)

    def find(self, config: SourceConfig) -> list[LabeledImage]:
        assert config.path is not None
        workspace = find(config.path)
        images: dict[Purpose, list[LabeledImage]] = {}
        with Database(workspace.database_path) as database, database.read() as connection:
            names = classes.names(connection)
            for purpose in _PURPOSES:
                labels = ledger.labels(connection, purpose)
                images[purpose] = [
                    LabeledImage(workspace.absolute_path(image.path), names[labels[image.key]], purpose)
                    for image in catalog.images(connection, purpose)
                    if image.key in labels
                ]
        if not images["training"]:
            raise BadInputError(f"{workspace.root}: no training sample is labeled", "label some, or name another one")
        if not images["evaluation"]:
            return [LabeledImage(image.path, image.label) for image in images["training"]]
        return images["training"] + images["evaluation"]
