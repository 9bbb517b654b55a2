"""One score file: some groups of columns of a fixed list of samples, in safetensors, visible only complete.

Readers stream: nothing here needs memory in proportion to pool × classes or pool × features. Score files are derived
data, so every kind of damage has the same remedy (delete and score again), and a checksum per column makes sure that
damage is noticed. Never imports torch: ``query`` on stored scores must not pay for it.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from dalcli.errors import DalcliError
from dalcli.scores.columns import COLUMNS, DIGEST, Array, Digests, Layout, as_keys, check_columns
from dalcli.state import atomic

FORMAT_VERSION = 1
METADATA_KEY = "dalcli"
BLOCK_BYTES = 1 << 26

_SAFETENSORS_NAMES = {"U8": "uint8", "F16": "float16", "F32": "float32", "F64": "float64"}


@dataclass(frozen=True)
class ShardMetadata:
    """What the numbers of a file depend on besides the samples themselves."""

    model_version: str
    micro_batch: int


@dataclass(frozen=True)
class Header:
    """What a file says about itself: metadata, number of rows, columns, and the CRC-32 of each column's bytes."""

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
    """Write one file, atomically and durably; its folder must exist.

    Args:
        path: the file to make, named ``shard-*.safetensors`` by convention.
        columns: ``digest`` (n, 16) uint8 and one whole group at least: ``probabilities`` (n, K) and ``features``
            (n, d) float32; ``grad_sq_norm`` (n,) and ``grad_inner`` (n,) float64, perhaps with ``sketch`` (n, m)
            float16/32 and ``prescreen`` (n,) uint8; ``mc_probabilities`` (n, T, K) float16.
        metadata: stored beside the format version.

    Raises:
        ValueError: a column is missing, unknown, or of the wrong shape or dtype, or a sample is listed twice.
    """
    shapes = {name: array.shape for name, array in columns.items()}
    check_columns(shapes, {name: str(array.dtype) for name, array in columns.items()})
    if len(np.unique(as_keys(columns[DIGEST]))) != len(columns[DIGEST]):
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


class ShardFile:
    """A score file for reading; opened anew by each call, reading only the columns (and rows) asked for.

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

    def row_bytes(self, columns: Sequence[str]) -> int:
        """Memory of one row of the named columns."""
        return sum(np.dtype(dtype).itemsize * math.prod(shape) for dtype, shape in map(self.column, columns))

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

    def blocks(self, columns: Sequence[str], step: int | None = None) -> Generator[ScoreBlock, None, None]:
        """Stream the file in row order, ``step`` rows at a time (default: 64 MiB of them).

        The checksums are complete before the last block is handed out, so whoever sees all rows saw intact ones.
        """
        names = tuple(dict.fromkeys((DIGEST, *columns)))
        with self._open() as file:
            count = len(self)
            step = step or max(1, BLOCK_BYTES // self.row_bytes(names))
            checksums = dict.fromkeys(names, 0)
            for start in range(0, count, step):
                piece = {name: self._slice(file, name, start, min(start + step, count)) for name in names}
                for name, array in piece.items():
                    checksums[name] = zlib.crc32(array.data, checksums[name])
                if start + step >= count:
                    self._verify(checksums)
                yield ScoreBlock(piece[DIGEST], {name: piece[name] for name in columns})

    def column(self, name: str) -> tuple[str, tuple[int, ...]]:
        """Dtype name and row shape of one column; :class:`DalcliError` if the file was made without it."""
        if name not in COLUMNS:
            raise ValueError(f"no such score column: {name!r}; there are {', '.join(COLUMNS)}")
        if name not in self.header.layout:
            raise unusable(self.path, f"it has no column {name!r}")
        return self.header.layout[name]

    @contextmanager
    def _open(self) -> Iterator[Any]:
        # Only opening is guarded: errors of whoever consumes a stream pass through unchanged.
        try:
            opened = safe_open(str(self.path), framework="numpy")
        except FileNotFoundError:
            raise unusable(self.path, "the file is missing") from None
        except (SafetensorError, OSError) as error:
            raise unusable(self.path, str(error)) from error
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
            raise unusable(self.path, str(error)) from error
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

    def _verify(self, checksums: Mapping[str, int]) -> None:
        for name, checksum in checksums.items():
            if self.header.checksums[name] != checksum:
                raise unusable(self.path, f"the content of column {name!r} has changed since it was written")


def unusable(path: Path, reason: str) -> DalcliError:
    """The one error for a score file that cannot be used."""
    remedy = "run: dalcli score (what is damaged is scored again; nothing is lost but time)"
    return DalcliError(f"{path}: cannot use this score file: {reason}", remedy)


def _parse_header(path: Path, file: Any) -> Header:
    try:
        document = dict(json.loads((file.metadata() or {}).get(METADATA_KEY, "{}")))
        if document.get("format_version") != FORMAT_VERSION:
            raise unusable(path, f"format version {document.get('format_version')!r} is not {FORMAT_VERSION}")
        slices = {name: file.get_slice(name) for name in list(file.keys())}
        shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
        dtypes = {name: _SAFETENSORS_NAMES.get(part.get_dtype(), "?") for name, part in slices.items()}
        check_columns(shapes, dtypes)
        metadata = ShardMetadata(str(document["model_version"]), int(document["micro_batch"]))
        checksums = {name: int(document["checksums"][name]) for name in shapes}
    except (KeyError, ValueError, TypeError, SafetensorError) as error:
        raise unusable(path, f"bad header: {error}") from error
    layout = {name: (dtypes[name], shapes[name][1:]) for name in shapes}
    return Header(metadata, shapes[DIGEST][0], layout, checksums)
