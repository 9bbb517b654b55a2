"""Named numpy arrays with JSON metadata in one safetensors file beside a score table: written whole or not at all.

Derived data, so damage has one remedy: it is noticed by a checksum, and made again. Never imports torch.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from dalcli.scores.columns import Array
from dalcli.state import atomic

KEY = "dalcli"


def write_arrays(path: Path, arrays: Mapping[str, Array], metadata: Mapping[str, Any]) -> None:
    """Make ``path`` hold ``arrays`` and ``metadata`` (JSON values; infinities are allowed), atomically and durably."""
    contiguous = {name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}
    document = {"crc32": _checksum(contiguous, metadata), "metadata": dict(metadata)}
    text = {KEY: json.dumps(document, sort_keys=True)}
    atomic.write_via(path, lambda temporary: save_file(contiguous, temporary, metadata=text))


def read_arrays(path: Path) -> tuple[dict[str, Array], dict[str, Any]] | None:
    """What :func:`write_arrays` put there; None if the file is missing, damaged or something else."""
    try:
        with safe_open(str(path), framework="numpy") as file:
            document = json.loads((file.metadata() or {})[KEY])
            arrays: dict[str, Array] = {name: file.get_tensor(name) for name in sorted(file.keys())}
        metadata = dict(document["metadata"])
        return (arrays, metadata) if document["crc32"] == _checksum(arrays, metadata) else None
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None


def _checksum(arrays: Mapping[str, Array], metadata: Mapping[str, Any]) -> int:
    total = zlib.crc32(json.dumps(dict(metadata), sort_keys=True).encode())
    for name, array in arrays.items():
        total = zlib.crc32(f"{name} {array.dtype} {array.shape}".encode(), total)
        total = zlib.crc32(np.ascontiguousarray(array).data, total)
    return total
