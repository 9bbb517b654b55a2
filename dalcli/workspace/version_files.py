"""The files of a model version, below ``.dalcli/models/<version>/``. Never imports torch."""

from __future__ import annotations

from pathlib import Path

WEIGHTS_NAME = "model.safetensors"
META_NAME = "meta.json"
CHECKPOINT_NAME = "optimizer.safetensors"
"""What a killed ``train`` continues from; gone once the version is finished."""


def are_there(folder: Path) -> bool:
    """Whether a finished version's files exist (not whether they are whole: reading them tells)."""
    return (folder / WEIGHTS_NAME).is_file() and (folder / META_NAME).is_file()


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files of a killed process; only for the holder of the compute lock."""
    for path in folder.glob(".*.tmp"):
        path.unlink(missing_ok=True)
