"""A model that has not seen the newest labels must not choose or score without being told to."""

from __future__ import annotations

from dalcli.errors import NotReadyError
from dalcli.state import versions
from dalcli.state.database import Connection
from dalcli.state.versions import ModelVersion


def require_fresh(connection: Connection, model: ModelVersion, purpose: str) -> None:
    """Raises NotReadyError, naming ``train`` and ``--stale-ok``, if labels are newer than ``model``.

    ``purpose`` completes "pass --stale-ok to ...": what the command would do with the old model.
    """
    newer = versions.newer_labels(connection, model)
    if newer:
        raise NotReadyError(
            f"{newer} labels are newer than model {model.version}",
            f"run `dalcli train` first, or pass --stale-ok to {purpose} with the old model",
        )
