"""Named tensors in one safetensors file: written atomically, and known to be whole when read."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dalcli.errors import DalcliError
from dalcli.state.atomic import write_via

# One key: safetensors writes several in no fixed order, and equal content should give equal bytes.
_KEY = "dalcli"


class DamagedFileError(DalcliError):
    """A file of ours is truncated, corrupt or not what its name says."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any] | None = None) -> None:
    """Make ``path`` hold ``tensors`` and ``metadata`` (JSON values), atomically; the same content gives the same bytes.

    Tensors may share memory, be views or lie on any device. A checksum is kept so that damage is noticed.
    """
    stored = _independent(tensors)
    document = {"crc32": _checksum(stored), "metadata": dict(metadata or {})}
    header = {_KEY: json.dumps(document, sort_keys=True, allow_nan=False)}
    write_via(path, lambda temporary: save_file(stored, temporary, metadata=header))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors (on the processor) and metadata that :func:`write_tensors` put there.

    Raises:
        DamagedFileError: the file is missing, truncated, changed or was not written by dalcli.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
        document = json.loads(header[_KEY])
        expected, metadata = document["crc32"], document["metadata"]
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DamagedFileError(f"{path} cannot be read: {_reason(error)}", _REMEDY) from error
    if _checksum(tensors) != expected:
        raise DamagedFileError(f"{path} is damaged: its content does not match its checksum", _REMEDY)
    return tensors, metadata


_REMEDY = "Restore the file from a backup, or delete the folder it is in and run the command again."


def _independent(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous copies where needed: safetensors refuses tensors that share or only partly use their memory."""
    stored: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name in sorted(tensors):
        tensor = tensors[name].detach().to("cpu").contiguous()
        storage = tensor.untyped_storage()
        if storage.data_ptr() in seen or storage.nbytes() != tensor.nbytes:
            tensor = tensor.clone()
        seen.add(tensor.untyped_storage().data_ptr())
        stored[name] = tensor
    return stored


def _checksum(tensors: Mapping[str, Tensor]) -> int:
    """CRC-32 over names, types, shapes and bytes, in the order of names."""
    total = 0
    for name in sorted(tensors):
        tensor = tensors[name]
        total = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), total)
        total = zlib.crc32(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data, total)
    return total


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "it does not exist"
    if isinstance(error, KeyError):
        return "it was not written by dalcli"
    return str(error)
