"""The score table of one model version: columns over every readable training sample, in shards on disk.

A shard is a fixed list of samples. Its columns may lie in several files (predictions first, say, and gradients added
later): then the files are read side by side. Rows stream through; see ``shard_file``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dalcli.data.identity import id_from_digest
from dalcli.errors import NotReadyError
from dalcli.scores.cached_features import CachedFeatures, FeatureFile
from dalcli.scores.columns import COLUMNS, DIGEST, Array, Digests, Group, Layout, as_keys, find_keys
from dalcli.scores.shard_file import BLOCK_BYTES, ScoreBlock, ShardFile, ShardMetadata, unusable, write_shard

_File = ShardFile | FeatureFile

__all__ = ["Part", "ScoreBlock", "ScoreTable", "Shard", "ShardFile", "ShardMetadata", "write_shard"]


@dataclass(frozen=True)
class Part:
    """A file of a shard, and which groups of columns count in it (None: all that it holds)."""

    path: Path
    groups: Collection[Group] | None = None

    def counts(self, column: str) -> bool:
        """Whether a column that the file holds is to be read there."""
        group = COLUMNS[column].group
        return self.groups is None or group is None or group in self.groups


class Shard:
    """A list of samples with its columns, whichever file each of them lies in; at least one file.

    ``features``: of a frozen network; where given, that column is read from there.

    Every method raises :class:`DalcliError` if a file is missing, damaged, or of other samples than the first.
    """

    def __init__(self, parts: Sequence[Part], features: CachedFeatures | None = None) -> None:
        if not parts:
            raise ValueError("a shard has at least one file")
        self._parts = tuple((part, ShardFile(part.path)) for part in parts)
        self._features = None if features is None else FeatureFile(features, self._parts[0][1])

    @property
    def path(self) -> Path:
        """The first file."""
        return self._parts[0][1].path

    @property
    def metadata(self) -> ShardMetadata:
        """What the first file says it depends on."""
        return self._parts[0][1].header.metadata

    def __len__(self) -> int:
        return len(self._parts[0][1])

    @cached_property
    def layout(self) -> Layout:
        """The columns there are: name → dtype name, shape of one row."""
        found: dict[str, tuple[str, tuple[int, ...]]] = {}
        for part, file in self._parts:
            found |= {name: kind for name, kind in file.header.layout.items() if part.counts(name)}
        return found if self._features is None else found | self._features.columns

    def column(self, name: str) -> tuple[str, tuple[int, ...]]:
        """Dtype name and row shape of one column; :class:`DalcliError` if the model was scored without it."""
        return self._file_of(name).column(name)

    def digests(self) -> Digests:
        """Whose rows these are, (n, 16) uint8."""
        return self._parts[0][1].read((DIGEST,))[DIGEST]

    def read(self, columns: Sequence[str], rows: NDArray[np.intp] | None = None) -> dict[str, Array]:
        """The named columns, whole or only at ``rows`` (row indices in any order)."""
        found: dict[str, Array] = {}
        for file, names in self._by_file(columns):
            found |= file.read(names, rows)
        return {name: found[name] for name in columns}

    def blocks(self, columns: Sequence[str], max_bytes: int = BLOCK_BYTES) -> Iterator[ScoreBlock]:
        """Stream the rows in order, in blocks of at most ``max_bytes`` (but at least one row)."""
        files = self._by_file(columns)
        if not files:
            files = [(self._parts[0][1], [])]
        step = max(1, max_bytes // sum(file.row_bytes((DIGEST, *names)) for file, names in files))
        with ExitStack() as open_files:
            streams = [open_files.enter_context(closing(file.blocks(names, step))) for file, names in files]
            for blocks in zip(*streams, strict=True):
                first = blocks[0]
                for block, (file, _) in zip(blocks[1:], files[1:], strict=True):
                    self._require_same(first, block, file)
                found = {name: block[name] for block in blocks for name in block.columns}
                yield ScoreBlock(first.digests, {name: found[name] for name in columns})

    def _require_same(self, first: ScoreBlock, other: ScoreBlock, file: _File) -> None:
        if not np.array_equal(first.digests, other.digests):
            raise unusable(file.path, f"it holds other samples than {self.path.name}")

    def _by_file(self, columns: Sequence[str]) -> list[tuple[_File, list[str]]]:
        """Which columns are read from which file; their digests, which every file has, from the first one needed."""
        wanted: dict[_File, list[str]] = {}
        for name in dict.fromkeys(columns):
            wanted.setdefault(self._file_of(name), []).append(name)
        files: list[_File] = [file for _, file in self._parts]
        return [(file, wanted[file]) for file in (*files, self._features) if file in wanted and file is not None]

    def _file_of(self, name: str) -> _File:
        """Where a column is; of several files that have it, the last one counts."""
        if name not in COLUMNS:
            raise ValueError(f"no such score column: {name!r}; there are {', '.join(COLUMNS)}")
        if self._features is not None and name in self._features.columns:
            return self._features
        holders = [file for part, file in self._parts if part.counts(name) and name in file.header.layout]
        if not holders:
            raise unusable(self.path, f"it has no column {name!r}")
        return holders[-1]


class ScoreTable:
    """What strategies read: all shards (at least one) of one model version in order, one shard open at a time.

    Every method raises :class:`DalcliError` if a shard is missing, damaged, or from another version than the first.
    """

    def __init__(self, shards: Sequence[Path | Shard]) -> None:
        if not shards:
            raise ValueError("a score table has at least one shard")
        self._shards = tuple(each if isinstance(each, Shard) else Shard([Part(each)]) for each in shards)

    @property
    def layout(self) -> Layout:
        """The columns there are (only those that were scored): name → dtype name, shape of one row."""
        return self._shards[0].layout

    def __len__(self) -> int:
        """Number of samples (reads every shard's header)."""
        return sum(len(self._checked(shard)) for shard in self._shards)

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
            places = find_keys(as_keys(shard.digests()), wanted)
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

    def _checked(self, shard: Shard) -> Shard:
        first = self._shards[0]
        if (shard.metadata.model_version, shard.layout) != (first.metadata.model_version, first.layout):
            raise unusable(shard.path, f"it does not belong together with {first.path.name}")
        return shard
