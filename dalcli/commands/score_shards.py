"""Scoring in shards: fixed lists of samples, each written complete before the row that names it.

A killed run loses at most one shard, and its repetition cuts the remaining samples into exactly the same ones.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dalcli.commands.loading import LoadedModel
from dalcli.commands.pixels import PixelsInOrder, ReadableImages, open_images, row_chunks, set_aside_unreadable
from dalcli.commands.session import Session
from dalcli.data.identity import digests
from dalcli.data.pixels import PixelSource, UnreadableImagesError
from dalcli.feedback import Task
from dalcli.models.preprocess import to_input
from dalcli.scoring.engine import GradientEngine, GradientScores
from dalcli.scoring.table import ShardMetadata, write_shard
from dalcli.state import scores
from dalcli.state.scores import ScoreShard
from dalcli.state.versions import ModelVersion
from dalcli.training.prefetch import prefetch

Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class ShardWriter:
    """Scores images against ``direction`` (G_S) and appends shards to the score table of ``model``."""

    session: Session
    model: ModelVersion
    loaded: LoadedModel
    engine: GradientEngine
    direction: Mapping[str, Tensor]
    micro_batch: int
    task: Task

    def write(self, opened: ReadableImages) -> None:
        """Score all of ``opened``, ``scoring.shard_size`` at a time."""
        with self.session.database.read() as connection:
            known = scores.shards(connection, self.model.key)
        ordinal = known[-1].ordinal + 1 if known else 0
        for rows in row_chunks(len(opened.images), self.session.config.scoring.shard_size):
            images = tuple(opened.images[row] for row in rows)
            if self._write_shard(ReadableImages(images, PixelsInOrder(opened.pixels, rows)), ordinal):
                ordinal += 1

    def _write_shard(self, part: ReadableImages, ordinal: int) -> bool:
        """One shard; images found unreadable now are set aside and it is made without them. False if none is left."""
        started = time.monotonic()
        done = 0
        parts: list[Columns] = []
        try:
            for inputs in self._inputs(part.pixels):
                parts.append(_columns(self.engine.score(inputs, self.direction)))
                self.task.advance(len(inputs))
                done += len(inputs)
        except UnreadableImagesError as error:
            kept = set_aside_unreadable(self.session, part.images, error.failures)
            self.task.advance(len(part.images) - len(kept) - done)
            return self._write_shard(open_images(self.session, kept, self.loaded.meta.spec.image_size), ordinal)
        if not parts:
            return False
        columns = {name: np.concatenate([columns[name] for columns in parts]) for name in parts[0]}
        columns["digest"] = digests([image.sample_id for image in part.images])
        file = f"shard-{ordinal:05d}.safetensors"
        folder = self.session.workspace.score_folder(self.model.version)
        write_shard(folder / file, columns, ShardMetadata(self.model.version, self.micro_batch))
        shard = ScoreShard(ordinal, file, len(part.images), time.monotonic() - started)
        with self.session.database.write() as connection:
            scores.add_shard(connection, self.model.key, shard)
        return True

    def _inputs(self, pixels: PixelSource) -> Iterator[Tensor]:
        """Normalised images on the device, read ahead while the previous ones are scored."""
        with prefetch(pixels.read(rows) for rows in row_chunks(len(pixels), self.micro_batch)) as blocks:
            for block in blocks:
                yield to_input(block, self.loaded.meta.pixel_stats, self.loaded.device)


def _columns(found: GradientScores) -> Columns:
    assert found.inner is not None  # there always is a direction
    return {
        "grad_sq_norm": found.sq_norm.double().cpu().numpy(),
        "grad_inner": found.inner.double().cpu().numpy(),
        "probabilities": found.probabilities.cpu().numpy(),
        "features": found.features.float().cpu().numpy(),
    }
