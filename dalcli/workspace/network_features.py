"""Features of images by a frozen network, made when they are asked for. Imports torch only then."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from dalcli.data.file_pixels import FilePixels
from dalcli.data.network import NetworkRecord
from dalcli.data.pixels import Failure, Inputs, IntArray, PartlyReadError, UInt8Array, UnreadableImagesError
from dalcli.errors import BadInputError
from dalcli.runtime.prefetch import prefetch
from dalcli.workspace.session import Surroundings

if TYPE_CHECKING:
    from dalcli.models.frozen_network import FrozenNetwork

PROCESSOR_BATCH, GPU_BATCH = 32, 128
"""Parts of what is asked for at a time (``images.FEATURES_AT_ONCE``): a batch that was filled up costs a full one."""


class NetworkFeatures:
    """An :class:`~dalcli.data.pixels.InputSource`: (d,) numbers an image, of ``data.features``' type.

    Batches all have one size (the last is filled up), so that an image's features do not depend on those that it is
    asked for with. Images are decoded on all cores: for a GPU while it looks at the batch before, for a processor in
    between, since its threads wait for each other, and so for whatever else is done beside them (a tenth faster on two
    cores than the other way).
    """

    def __init__(self, surroundings: Surroundings, record: NetworkRecord, files: Sequence[str]) -> None:
        data, recipe = surroundings.config.data, record.recipe
        self._surroundings, self._record, self._files = surroundings, record, files
        self._pixels = FilePixels(
            files,
            recipe.image_size,
            recipe.resize,
            data.alpha_background,
            crop_fraction=recipe.crop_fraction,
            interpolation=recipe.interpolation,
            workers=data.workers,
            memory_limit_bytes=0,
        )
        self._interrupted = False
        self._made: dict[int, Inputs] = {}  # beside an unreadable image: asked for again without it

    @property
    def shape(self) -> tuple[int, ...]:
        return (self._record.dimension,)

    @property
    def dtype(self) -> str:
        """Name of the numbers' type."""
        return self._surroundings.config.data.features

    def __len__(self) -> int:
        return len(self._pixels)

    def read(self, rows: IntArray) -> Inputs:
        """Features (n, d) of ``rows``.

        Raises:
            UnreadableImagesError: naming every row that could not be read, or has no usable features.
            BadInputError: key ``data.features``: the type does not hold them.
            DalcliError: the network's file is missing or damaged.
        """
        known, self._made, self._interrupted = self._made, {}, False
        wanted = [row for row in dict.fromkeys(rows.tolist()) if row not in known]
        failures = self._make(np.array(wanted, np.int64), known)
        if failures:
            self._made = known
            raise UnreadableImagesError(failures)
        return self._stacked(known, rows.tolist())

    def _stacked(self, known: dict[int, Inputs], rows: Sequence[int]) -> Inputs:
        return np.stack([known[row] for row in rows]) if rows else np.empty((0, *self.shape), self.dtype)

    def interrupt(self) -> None:
        """Nobody waits any more for what another thread is reading: it ends with PartlyReadError, soon."""
        self._interrupted = True

    def _make(self, rows: IntArray, known: dict[int, Inputs]) -> list[Failure]:
        """Put features of ``rows`` into ``known``; what could not be read."""
        failures: list[Failure] = []
        size = self._batch
        pieces = (rows[start : start + size] for start in range(0, len(rows), size))
        decoded = (self._decoded(piece, failures) for piece in pieces)
        with nullcontext(decoded) if self._network.device.type == "cpu" else prefetch(decoded) as batches:
            for piece, pixels in batches:
                if self._interrupted:
                    made = [row for row in known if np.isfinite(known[row]).all()]
                    raise PartlyReadError(np.array(made, np.int64), self._stacked(known, made))
                if len(piece):
                    found = self._features(pixels)
                    known |= dict(zip(piece.tolist(), found, strict=True))
                    failures += [self._unusable(row) for row in piece[~np.isfinite(found).all(1)].tolist()]
        return failures

    def _unusable(self, row: int) -> Failure:
        reason = f"{self._record.name} gives features of it that are no numbers (NaN or infinite)"
        return Failure(row, self._files[row], reason, missing=False)

    def _decoded(self, rows: IntArray, failures: list[Failure]) -> tuple[IntArray, UInt8Array]:
        """Those of ``rows`` that can be read, with their pixels."""
        while True:
            try:
                return rows, self._pixels.read(rows)
            except UnreadableImagesError as error:
                failures += error.failures
                rows = rows[~np.isin(rows, [failure.row for failure in error.failures])]

    def _features(self, pixels: UInt8Array) -> Inputs:
        from dalcli.models.preprocess import PixelStats, to_input

        recipe, count = self._record.recipe, len(pixels)
        if count < self._batch:
            pixels = np.concatenate([pixels, np.zeros((self._batch - count, *pixels.shape[1:]), np.uint8)])
        inputs = to_input(pixels, PixelStats(recipe.mean, recipe.std), self._network.device)
        made = self._network.features(inputs)[:count].cpu().numpy()
        with np.errstate(over="ignore"):
            found: Inputs = made.astype(self.dtype)
        if (np.isfinite(made) & ~np.isfinite(found)).any():
            raise BadInputError(
                f"data.features: {self.dtype} does not hold the features of {self._record.name}: they go up to "
                f"{np.abs(made[np.isfinite(made)]).max():.3g}",
                "set data.features: float32 in dalcli.yaml",
            )
        return found

    @cached_property
    def _network(self) -> FrozenNetwork:
        from dalcli.models import networks
        from dalcli.runtime.device import own_device
        from dalcli.runtime.heap import keep_freed_memory

        workspace, config = self._surroundings.workspace, self._surroundings.config
        device = own_device(config.device)
        if device.type == "cpu":
            keep_freed_memory()  # every batch needs the same blocks, which the system would zero again and again
        return networks.read(workspace.networks, self._record, workspace.root).quicker().to(device)

    @property
    def _batch(self) -> int:
        return PROCESSOR_BATCH if self._network.device.type == "cpu" else GPU_BATCH
