"""The column ``features`` of a frozen network's versions: not in the shards, but in the cache that all versions share.

A shard would hold the same numbers again for every version. What enters a head is the network's features, standardised
as the head does it: computed while they are read. Never imports torch.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from dalcli.config.schema import Config
from dalcli.data.cache_segment import RowFormat
from dalcli.data.network import from_json
from dalcli.data.pixels import Float32Array
from dalcli.data.row_cache import features_name
from dalcli.data.stored_rows import StoredRows
from dalcli.scores.columns import DIGEST, Array, Digests
from dalcli.scores.shard_file import ScoreBlock, ShardFile, unusable
from dalcli.state.versions import ModelVersion
from dalcli.state.workspace import WEIGHTS_NAME, Workspace

FEATURES = "features"


class CachedFeatures:
    """Features as they enter the head in ``weights`` (a version's file), from the cache in ``folder``."""

    def __init__(self, folder: Path, kind: RowFormat, weights: Path) -> None:
        self.folder, self._format, self._weights = folder, kind, weights

    @classmethod
    def of(cls, workspace: Workspace, config: Config, model: ModelVersion) -> CachedFeatures | None:
        """Those of ``model``; None if it was trained as a whole."""
        if model.network is None:
            return None
        network, data = from_json(model.network), config.data
        folder = workspace.state / "cache" / features_name(network.fingerprint, data.alpha_background, data.features)
        weights = workspace.model_folder(model.version) / WEIGHTS_NAME
        return cls(folder, RowFormat((network.dimension,), data.features), weights)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one row."""
        return self._format.shape

    def holds(self, digests: Digests) -> NDArray[np.bool_]:
        """(n,) whether the features of samples (n, 16) are there; reading tells whether they are intact."""
        return self._stored.holds(digests)

    def read(self, digests: Digests) -> Float32Array:
        """(n, d) float32 of samples (n, 16).

        Raises:
            DalcliError: some are not there, or damaged.
        """
        found, intact = self._stored.read(digests)
        if not intact.all():
            raise unusable(self.folder, f"the features of {np.count_nonzero(~intact)} samples are missing or damaged")
        centre, factor = self._standardisation
        standardised: Float32Array = (found.astype(np.float32) - centre) * factor
        return standardised

    @cached_property
    def _stored(self) -> StoredRows:
        return StoredRows(self.folder, self._format)

    @cached_property
    def _standardisation(self) -> tuple[Float32Array, np.float32]:
        try:
            with safe_open(self._weights, framework="np") as file:
                return file.get_tensor("centre"), np.float32(file.get_tensor("factor"))
        except (OSError, SafetensorError) as error:
            raise unusable(self._weights, str(error)) from error


class FeatureFile:
    """The features of one shard's samples, read like a file of that shard; ``listed`` says whose they are."""

    def __init__(self, features: CachedFeatures, listed: ShardFile) -> None:
        self.path, self._features, self._listed = features.folder, features, listed

    @property
    def columns(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """The one there is."""
        return {FEATURES: ("float32", self._features.shape)}

    def column(self, name: str) -> tuple[str, tuple[int, ...]]:
        """Dtype name and row shape."""
        return self.columns[name]

    def row_bytes(self, columns: Sequence[str]) -> int:
        """Memory of one row, with its copy on the way."""
        return self._listed.row_bytes((DIGEST,)) + 2 * 4 * self._features.shape[0] * (FEATURES in columns)

    def read(self, columns: Sequence[str], rows: NDArray[np.intp] | None = None) -> dict[str, Array]:
        """All of them, or only at ``rows``."""
        digests = self._listed.read((DIGEST,), rows)[DIGEST]
        return {name: self._features.read(digests) for name in columns}

    def blocks(self, columns: Sequence[str], step: int) -> Generator[ScoreBlock, None, None]:
        """In row order, ``step`` rows at a time."""
        for block in self._listed.blocks((DIGEST,), step):
            yield ScoreBlock(block.digests, {name: self._features.read(block.digests) for name in columns})
