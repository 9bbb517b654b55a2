"""The kinds of sources by name. Another kind is one file beside this one, and one line here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dalcli.config.words import suggestion
from dalcli.errors import BadInputError
from dalcli.simulation.schema import SourceConfig
from dalcli.simulation.sources.base import ArraySource, FileSource
from dalcli.simulation.sources.caltech101 import Caltech101
from dalcli.simulation.sources.cifar10 import Cifar10
from dalcli.simulation.sources.digits import Digits
from dalcli.simulation.sources.folder import Folder
from dalcli.simulation.sources.manifest import Manifest
from dalcli.simulation.sources.svhn import Svhn
from dalcli.simulation.sources.workspace import ExistingWorkspace

SOURCES: Mapping[str, FileSource | ArraySource] = {
    "folder": Folder(),
    "manifest": Manifest(),
    "workspace": ExistingWorkspace(),
    "digits": Digits(),
    "cifar10": Cifar10(),
    "svhn": Svhn(),
    "caltech101": Caltech101(),
}


def source_of(config: SourceConfig, where: str) -> FileSource | ArraySource:
    """The source that ``config`` names; ``where`` is the place of the key ``source``, for messages.

    Raises:
        BadInputError: there is no such kind, it needs a path, or has no use for a key that was given.
    """
    if config.kind not in SOURCES:
        hint = suggestion(config.kind, SOURCES)
        raise BadInputError(f"{where}: unknown kind '{config.kind}'{hint}", f"choose one of: {', '.join(SOURCES)}")
    source = SOURCES[config.kind]
    if "path" in source.takes and config.path is None:
        raise BadInputError(f"{where}: {config.kind} needs a path", f"write source: {{kind: {config.kind}, path: ...}}")
    useless = sorted(config.model_fields_set - {"kind", *source.takes})
    if useless:
        raise BadInputError(f"{where}.{useless[0]}: means nothing for {config.kind}", "remove it")
    return source


def placed(config: SourceConfig, folder: Path) -> SourceConfig:
    """With paths that start at ``folder``, the configuration's."""
    paths = {"path": config.path, "test": config.test}
    return config.model_copy(update={name: folder / path for name, path in paths.items() if path is not None})
