"""The model version that ``--model`` names."""

from __future__ import annotations

from dalcli.config.words import suggestion
from dalcli.errors import NotReadyError, UsageError
from dalcli.state import versions
from dalcli.state.database import Connection
from dalcli.state.versions import ModelVersion


def named_version(connection: Connection, name: str | None) -> ModelVersion:
    """The finished version called ``name``, or the newest for None.

    Raises:
        NotReadyError: there is no model.
        UsageError: no such version.
    """
    known = {version.version: version for version in versions.history(connection)}
    if not known:
        raise NotReadyError("there is no model yet", "train one: dalcli train")
    if name is None:
        return list(known.values())[-1]
    if name not in known:
        raise UsageError(f"--model: no version '{name}'{suggestion(name, known)}", f"known: {', '.join(known)}")
    return known[name]
