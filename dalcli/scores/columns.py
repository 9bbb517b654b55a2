"""The columns of a score table: their names, shapes and types, and samples as keys. Never imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dalcli.data.identity import DIGEST_BYTES

Array = NDArray[Any]
Floats = NDArray[np.float64]
Digests = NDArray[np.uint8]
"""Samples as (n, 16) uint8: the bytes behind their ``sample_id``."""

COLUMNS: Mapping[str, tuple[int, tuple[str, ...]]] = {
    "digest": (2, ("uint8",)),
    "grad_sq_norm": (1, ("float64",)),
    "grad_inner": (1, ("float64",)),
    "probabilities": (2, ("float32",)),
    "features": (2, ("float32",)),
    "sketch": (2, ("float16", "float32")),
    "prescreen": (1, ("uint8",)),
    "mc_probabilities": (3, ("float16",)),
}
"""Column name → number of dimensions, possible dtypes. ``prescreen`` holds :class:`Screened` codes."""
_OPTIONAL = {"sketch", "prescreen", "mc_probabilities"}


class Screened(IntEnum):
    """Why a sample of a prescreened table has exact gradient values, or that it has none (NaN) by choice."""

    AWAY = 0
    PROMISING = 1
    CONTROL = 2
    CALIBRATION = 3


Layout = Mapping[str, tuple[str, tuple[int, ...]]]
"""Column name → dtype name, shape of one row."""


def as_keys(digests: Digests) -> NDArray[np.bytes_]:
    """One sortable 16-byte key per row of ``digests`` (n, 16) uint8, in the order of the bytes."""
    if digests.ndim != 2 or digests.shape[1] != DIGEST_BYTES or digests.dtype != np.uint8:
        raise ValueError(f"digests must be (n, 16) uint8, got {digests.shape} {digests.dtype}")
    return np.ascontiguousarray(digests).view(f"S{DIGEST_BYTES}").reshape(-1)


def find_keys(keys: NDArray[np.bytes_], among: NDArray[np.bytes_]) -> NDArray[np.int64]:
    """Where each of ``keys`` is in ``among`` (sorted, unique); −1 where it is not."""
    if not len(among):
        return np.full(len(keys), -1, np.int64)
    places = np.searchsorted(among, keys)
    places[places == len(among)] = 0
    return np.where(among[places] == keys, places, -1)


def check_columns(shapes: Mapping[str, tuple[int, ...]], dtypes: Mapping[str, str]) -> None:
    """ValueError unless columns of these shapes and dtypes make a shard."""
    unknown, absent = shapes.keys() - COLUMNS.keys(), COLUMNS.keys() - _OPTIONAL - shapes.keys()
    if unknown or absent:
        raise ValueError(f"columns missing: {sorted(absent)}, unknown: {sorted(unknown)}")
    for name, shape in shapes.items():
        (dimensions, allowed), rows = COLUMNS[name], shapes["digest"][0]
        if dtypes[name] not in allowed or len(shape) != dimensions or shape[0] != rows:
            wanted = f"{dimensions} dimensions, {rows} rows, {' or '.join(allowed)}"
            raise ValueError(f"column {name!r} is {shape} {dtypes[name]}, not {wanted}")
    if shapes["digest"][1] != DIGEST_BYTES or shapes["probabilities"][1] < 1:
        raise ValueError(f"digest {shapes['digest']}, probabilities {shapes['probabilities']}: not (n, 16) and (n, K)")
    drawn = shapes.get("mc_probabilities")
    if drawn is not None and (drawn[1] < 1 or drawn[2] != shapes["probabilities"][1]):
        raise ValueError(f"mc_probabilities {drawn}: not (n, T, {shapes['probabilities'][1]})")
