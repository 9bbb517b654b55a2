"""Model versions as commands need them: the one that is meant, whether it is fresh, and its files.

The files lie below ``.dalcli/models/<version>/``. Never imports torch.
"""

from __future__ import annotations

from pathlib import Path

from dalcli.config.words import counted, suggestion
from dalcli.errors import NotReadyError, UsageError
from dalcli.state import versions
from dalcli.state.database import Connection
from dalcli.state.versions import ModelVersion
from dalcli.state.workspace import WEIGHTS_NAME

META_NAME = "meta.json"
CHECKPOINT_NAME = "optimizer.safetensors"
"""What a killed ``train`` continues from; gone once the version is finished."""


def named_version(connection: Connection, name: str | None) -> ModelVersion:
    """The finished version that ``--model`` names, or the newest for None.

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


def require_fresh(connection: Connection, model: ModelVersion, purpose: str) -> None:
    """Refuse a model that has not seen the newest labels: it must not choose or score without being told to.

    ``purpose`` completes "pass --stale-ok to ...": what the command would do with the old model.

    Raises:
        NotReadyError: naming ``train`` and ``--stale-ok``.
    """
    newer = versions.newer_labels(connection, model)
    if newer:
        raise NotReadyError(
            f"{counted(newer, 'label is', 'labels are')} newer than model {model.version}",
            f"run `dalcli train` first, or pass --stale-ok to {purpose} with the old model",
        )


def are_there(folder: Path) -> bool:
    """Whether a finished version's files exist (not whether they are whole: reading them tells)."""
    return (folder / WEIGHTS_NAME).is_file() and (folder / META_NAME).is_file()


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files of a killed process; only for the holder of the compute lock."""
    for path in folder.glob(".*.tmp"):
        path.unlink(missing_ok=True)


def none_readable(model: ModelVersion) -> NotReadyError:
    """Nothing is left of S."""
    return NotReadyError(
        f"none of the images that {model.version} was trained on can be read", "see `dalcli pool quarantine`"
    )
