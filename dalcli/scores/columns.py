"""The columns of a score table: their names, shapes and types, and samples as keys. Never imports torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dalcli.data.identity import DIGEST_BYTES

Array = NDArray[Any]
Floats = NDArray[np.float64]
Digests = NDArray[np.uint8]
"""Samples as (n, 16) uint8: the bytes behind their ``sample_id``."""


class Group(StrEnum):
    """Columns that are computed together, and so are there together: what a table can hold and gain."""

    PREDICTIONS = "predictions"
    """By a forward pass alone."""
    GRADIENTS = "gradients"
    """By the engine: a forward and a backward pass."""
    DROPOUT = "dropout"
    """By forward passes under dropout masks."""


@dataclass(frozen=True, slots=True)
class Column:
    """How one column is stored: number of dimensions, possible dtypes, and the group it belongs to.

    An ``optional`` one is there only where the table's settings ask for it.
    """

    dimensions: int
    dtypes: tuple[str, ...]
    group: Group | None
    optional: bool = False


DIGEST = "digest"
"""The column that every file has: whose rows these are."""

COLUMNS: Mapping[str, Column] = {
    DIGEST: Column(2, ("uint8",), None),
    "probabilities": Column(2, ("float32",), Group.PREDICTIONS),
    "features": Column(2, ("float32",), Group.PREDICTIONS, optional=True),  # of frozen networks: cached_features
    "grad_sq_norm": Column(1, ("float64",), Group.GRADIENTS),
    "grad_inner": Column(1, ("float64",), Group.GRADIENTS),
    "sketch": Column(2, ("float16", "float32"), Group.GRADIENTS, optional=True),
    "prescreen": Column(1, ("uint8",), Group.GRADIENTS, optional=True),
    "mc_probabilities": Column(3, ("float16",), Group.DROPOUT),
}
"""By name; ``prescreen`` holds :class:`Screened` codes."""


def groups_of(columns: Iterable[str]) -> frozenset[Group]:
    """The groups that the named columns belong to."""
    return frozenset(group for name in columns if (group := COLUMNS[name].group) is not None)


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
    """ValueError unless columns of these shapes and dtypes make a score file: digests and at least one whole group."""
    here = groups_of(shapes.keys() & COLUMNS.keys())
    needed = {name for name, column in COLUMNS.items() if column.group in here and not column.optional}
    unknown, absent = shapes.keys() - COLUMNS.keys(), needed - shapes.keys()
    if unknown or absent or not here or DIGEST not in shapes:
        absent |= {DIGEST} - shapes.keys()
        raise ValueError(f"columns missing: {sorted(absent) or 'all'}, unknown: {sorted(unknown)}")
    rows = shapes[DIGEST][0]
    for name, shape in shapes.items():
        column = COLUMNS[name]
        if dtypes[name] not in column.dtypes or len(shape) != column.dimensions or shape[0] != rows:
            wanted = f"{column.dimensions} dimensions, {rows} rows, {' or '.join(column.dtypes)}"
            raise ValueError(f"column {name!r} is {shape} {dtypes[name]}, not {wanted}")
    if shapes[DIGEST][1] != DIGEST_BYTES:
        raise ValueError(f"digest {shapes[DIGEST]}: not (n, 16)")
    _check_classes(shapes)


def _check_classes(shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Predictions have at least one class, and the same ones with and without dropout."""
    plain, drawn = shapes.get("probabilities"), shapes.get("mc_probabilities")
    if plain is not None and plain[1] < 1:
        raise ValueError(f"probabilities {plain}: not (n, K)")
    if drawn is not None and (drawn[1] < 1 or drawn[2] < 1 or (plain is not None and drawn[2] != plain[1])):
        raise ValueError(f"mc_probabilities {drawn}: not (n, T, K)")
