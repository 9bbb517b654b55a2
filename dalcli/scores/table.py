"""The score table of one model version: arrays over every readable training sample, in shards on disk.

A shard is one safetensors file that becomes visible only complete. Readers stream: nothing here needs memory in
proportion to pool × classes or pool × features. Shards are derived data, so every kind of damage has the same
remedy (delete and score again), and a checksum per column makes sure that damage is noticed. Never imports torch:
``query`` on stored scores must not pay for it.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from dalcli.data.identity import id_from_digest
from dalcli.errors import DalcliError, NotReadyError
from dalcli.scores.columns import COLUMNS, Array, Digests, Layout, Screened, as_keys, check_columns, find_keys
from dalcli.state import atomic

FORMAT_VERSION = 1
METADATA_KEY = "dalcli"
BLOCK_BYTES = 1 << 26

_SAFETENSORS_NAMES = {"U8": "uint8", "F16": "float16", "F32": "float32", "F64": "float64"}

__all__ = [
    "COLUMNS",
    "Array",
    "Digests",
    "Header",
    "ScoreBlock",
    "ScoreTable",
    "Screened",
    "Shard",
    "ShardMetadata",
    "as_keys",
    "find_keys",
    "write_shard",
]


@dataclass(frozen=True)
class ShardMetadata:
    """What the numbers of a shard depend on besides the samples themselves."""

    model_version: str
    micro_batch: int


@dataclass(frozen=True)
class Header:
    """A shard's metadata, number of rows, columns, and the CRC-32 of each column's bytes."""

    metadata: ShardMetadata
    rows: int
    layout: Layout
    checksums: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class ScoreBlock:
    """Some consecutive rows of a score table: ``digests`` (n, 16) uint8 and the columns that were asked for."""

    digests: Digests
    columns: Mapping[str, Array]

    def __len__(self) -> int:
        return len(self.digests)

    def __getitem__(self, column: str) -> Array:
        return self.columns[column]

    def take(self, rows: NDArray[Any]) -> ScoreBlock:
        """The block restricted to ``rows`` (indices or a boolean mask)."""
        return ScoreBlock(self.digests[rows], {name: array[rows] for name, array in self.columns.items()})


def write_shard(path: Path, columns: Mapping[str, Array], metadata: ShardMetadata) -> None:
    """Write one shard, atomically and durably; its folder must exist.

    Args:
        path: the file to make, named ``shard-*.safetensors`` by convention.
        columns: ``digest`` (n, 16) uint8, ``grad_sq_norm`` (n,) float64, ``grad_inner`` (n,) float64,
            ``probabilities`` (n, K) float32, ``features`` (n, d) float32, optionally ``sketch`` (n, m) float16/32,
            ``prescreen`` (n,) uint8 and ``mc_probabilities`` (n, T, K) float16.
        metadata: stored beside the format version.

    Raises:
        ValueError: a column is missing, unknown, or of the wrong shape or dtype, or a sample is listed twice.
    """
    shapes = {name: array.shape for name, array in columns.items()}
    check_columns(shapes, {name: str(array.dtype) for name, array in columns.items()})
    if len(np.unique(as_keys(columns["digest"]))) != len(columns["digest"]):
        raise ValueError("a sample is listed twice in one shard")
    arrays = {name: np.ascontiguousarray(array) for name, array in columns.items()}
    document = {
        "format_version": FORMAT_VERSION,
        "model_version": metadata.model_version,
        "micro_batch": metadata.micro_batch,
        "checksums": {name: zlib.crc32(array.data) for name, array in arrays.items()},
    }
    # One key: safetensors writes several in no fixed order, and equal shards should be equal files.
    text = {METADATA_KEY: json.dumps(document, sort_keys=True)}
    atomic.write_via(path, lambda temporary: save_file(arrays, temporary, metadata=text))


class Shard:
    """One shard file; opened anew by each call, reading only the columns (and rows) asked for.

    Every method raises :class:`DalcliError`, naming the file and the remedy, if the file is missing or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._header: Header | None = None

    @property
    def header(self) -> Header:
        """What the file says about itself, read whenever it is first opened."""
        if self._header is None:
            with self._open():
                pass
        assert self._header is not None
        return self._header

    def __len__(self) -> int:
        return self.header.rows

    def read(self, columns: Sequence[str], rows: NDArray[Any] | None = None) -> dict[str, Array]:
        """The named columns, whole or only at ``rows`` (row indices in any order).

        Whole columns are checked against their checksum, picked rows only against the file's structure.
        """
        with self._open() as file:
            if rows is None:
                arrays = {name: self._slice(file, name, 0, len(self)) for name in columns}
                self._verify({name: zlib.crc32(array.data) for name, array in arrays.items()})
                return arrays
            return {name: self._pick(file, name, rows) for name in columns}

    def blocks(self, columns: Sequence[str], max_bytes: int = BLOCK_BYTES) -> Iterator[ScoreBlock]:
        """Stream the shard in row order, in blocks of at most ``max_bytes`` (but at least one row).

        The checksums are complete before the last block is handed out, so whoever sees all rows saw intact ones.
        """
        names = tuple(dict.fromkeys(("digest", *columns)))
        with self._open() as file:
            count = len(self)
            row_bytes = sum(np.dtype(dtype).itemsize * math.prod(shape) for dtype, shape in map(self.column, names))
            step = max(1, max_bytes // row_bytes)
            checksums = dict.fromkeys(names, 0)
            for start in range(0, count, step):
                piece = {name: self._slice(file, name, start, min(start + step, count)) for name in names}
                for name, array in piece.items():
                    checksums[name] = zlib.crc32(array.data, checksums[name])
                if start + step >= count:
                    self._verify(checksums)
                yield ScoreBlock(piece["digest"], {name: piece[name] for name in columns})

    @contextmanager
    def _open(self) -> Iterator[Any]:
        # Only opening is guarded: errors of whoever consumes a stream pass through unchanged.
        try:
            opened = safe_open(str(self.path), framework="numpy")
        except FileNotFoundError:
            raise _unusable(self.path, "the file is missing") from None
        except (SafetensorError, OSError) as error:
            raise _unusable(self.path, str(error)) from error
        with opened as file:
            self._header = self._header or _parse_header(self.path, file)
            yield file

    def _slice(self, file: Any, name: str, start: int, stop: int) -> Array:
        dtype, shape = self.column(name)
        if start == stop:  # safetensors refuses to slice nothing
            return np.empty((0, *shape), dtype)
        try:
            array: Array = file.get_slice(name)[start:stop]
        except (SafetensorError, OSError) as error:
            raise _unusable(self.path, str(error)) from error
        return array

    def _pick(self, file: Any, name: str, rows: NDArray[Any]) -> Array:
        dtype, shape = self.column(name)
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"rows outside 0..{len(self) - 1}")
        picked = np.empty((len(rows), *shape), dtype)
        breaks = np.flatnonzero(np.diff(rows) != 1) + 1
        for run, where in zip(np.split(rows, breaks), np.split(picked, breaks), strict=True):
            if len(run):
                where[:] = self._slice(file, name, int(run[0]), int(run[-1]) + 1)
        return picked

    def column(self, name: str) -> tuple[str, tuple[int, ...]]:
        """Dtype name and row shape of one column; :class:`DalcliError` if the model was scored without it."""
        if name not in COLUMNS:
            raise ValueError(f"no such score column: {name!r}; there are {', '.join(COLUMNS)}")
        if name not in self.header.layout:
            raise _unusable(self.path, f"it has no column {name!r}")
        return self.header.layout[name]

    def _verify(self, checksums: Mapping[str, int]) -> None:
        for name, checksum in checksums.items():
            if self.header.checksums[name] != checksum:
                raise _unusable(self.path, f"the content of column {name!r} has changed since it was written")


class ScoreTable:
    """All shards (at least one) of one model version, in order; rows stream through, one shard open at a time.

    Every method raises :class:`DalcliError` if a shard is missing, damaged, or from another version than the first.
    """

    def __init__(self, shards: Sequence[Path]) -> None:
        if not shards:
            raise ValueError("a score table has at least one shard")
        self._shards = tuple(Shard(path) for path in shards)

    @property
    def layout(self) -> Layout:
        """The columns there are (optional ones only if they were scored): name → dtype name, shape of one row."""
        return self._shards[0].header.layout

    def __len__(self) -> int:
        """Number of samples (reads every shard's header)."""
        return sum(self._checked(shard).rows for shard in self._shards)

    def blocks(self, columns: Sequence[str], max_bytes: int = BLOCK_BYTES) -> Iterator[ScoreBlock]:
        """Stream all rows in shard order; ``digests`` always come along."""
        for shard in self._shards:
            for block in shard.blocks(columns, max_bytes):
                self._checked(shard)
                yield block

    def lookup(self, digests: Digests, columns: Sequence[str]) -> dict[str, Array]:
        """The named columns at ``digests`` (n, 16), in that order; memory in proportion to n, not to the table.

        Raises:
            NotReadyError: some of the samples have not been scored.
        """
        keys = as_keys(digests)
        wanted = np.unique(keys)
        layout = {name: self._shards[0].column(name) for name in columns}
        found = {name: np.empty((len(wanted), *shape), dtype) for name, (dtype, shape) in layout.items()}
        missing = np.ones(len(wanted), bool)
        for shard in self._shards:
            if not missing.any():
                break
            places = find_keys(as_keys(shard.read(("digest",))["digest"]), wanted)
            self._checked(shard)
            rows = np.flatnonzero(places >= 0)
            for name, array in shard.read(columns, rows).items() if len(rows) else ():
                found[name][places[rows]] = array
            missing[places[rows]] = False
        if missing.any():
            first = id_from_digest(wanted[missing][:1].tobytes())
            message = f"{missing.sum()} of {len(wanted)} samples have no scores, the first is {first}"
            raise NotReadyError(message, "run: dalcli score")
        order = find_keys(keys, wanted)
        return {name: array[order] for name, array in found.items()}

    def _checked(self, shard: Shard) -> Header:
        first, here = self._shards[0].header, shard.header
        if (here.metadata.model_version, here.layout) != (first.metadata.model_version, first.layout):
            raise _unusable(shard.path, f"it does not belong together with {self._shards[0].path.name}")
        return here


def _unusable(path: Path, reason: str) -> DalcliError:
    """The one error for a score file that cannot be used."""
    remedy = "run: dalcli score (what is damaged is scored again; nothing is lost but time)"
    return DalcliError(f"{path}: cannot use this score file: {reason}", remedy)


def _parse_header(path: Path, file: Any) -> Header:
    try:
        document = dict(json.loads((file.metadata() or {}).get(METADATA_KEY, "{}")))
        if document.get("format_version") != FORMAT_VERSION:
            raise _unusable(path, f"format version {document.get('format_version')!r} is not {FORMAT_VERSION}")
        slices = {name: file.get_slice(name) for name in list(file.keys())}
        shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
        dtypes = {name: _SAFETENSORS_NAMES.get(part.get_dtype(), "?") for name, part in slices.items()}
        check_columns(shapes, dtypes)
        metadata = ShardMetadata(str(document["model_version"]), int(document["micro_batch"]))
        checksums = {name: int(document["checksums"][name]) for name in shapes}
    except (KeyError, ValueError, TypeError, SafetensorError) as error:
        raise _unusable(path, f"bad header: {error}") from error
    layout = {name: (dtypes[name], shapes[name][1:]) for name in shapes}
    return Header(metadata, shapes["digest"][0], layout, checksums)
