"""Scoring in shards: fixed lists of samples, each written complete before the row that names it.

A killed run loses at most one shard, and its repetition cuts the remaining samples into exactly the same ones.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dalcli.commands.pixels import ReadableImages, open_images, row_chunks, set_aside_unreadable
from dalcli.commands.scorer import Scorer
from dalcli.commands.session import Session
from dalcli.data.identity import digests
from dalcli.data.pixels import IntArray, UnreadableImagesError
from dalcli.feedback import Task
from dalcli.scoring.engine import GradientScores
from dalcli.scoring.table import ShardMetadata, write_shard
from dalcli.state import scores
from dalcli.state.catalog import PoolImage
from dalcli.state.scores import ScoreShard
from dalcli.state.versions import ModelVersion
from dalcli.training.prefetch import prefetch

Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class ShardWriter:
    """Scores images against ``direction`` (G_S) and appends shards to the score table of ``model``."""

    session: Session
    model: ModelVersion
    scorer: Scorer
    direction: Mapping[str, Tensor]
    micro_batch: int

    def write(self, images: Sequence[PoolImage]) -> int:
        """Score ``images`` in their order, ``scoring.shard_size`` at a time; how many were readable.

        Images found unreadable on the way are set aside and the next ones take their places, so that the shards
        are those of a pool that never had them.
        """
        opened = open_images(self.session, images, self.scorer.loaded.meta.spec.image_size)
        with self.session.database.read() as connection:
            known = scores.shards(connection, self.model.key)
        ordinal = known[-1].ordinal + 1 if known else 0
        rows = np.arange(len(opened.images), dtype=np.int64)
        written = 0
        label = f"scoring with {self.model.version}"
        with opened.remembered(self.session), self.session.feedback.task(label, len(rows)) as task:
            while len(rows):
                part = rows[: self.session.config.scoring.shard_size]
                try:
                    self._write_shard(opened, part, ordinal, task)
                except UnreadableImagesError as error:
                    gone = set_aside_unreadable(self.session, opened.images, error.failures)
                    rows = rows[[opened.images[row].key not in gone for row in rows]]
                    continue
                rows = rows[len(part) :]
                written += len(part)
                ordinal += 1
        return written

    def _write_shard(self, opened: ReadableImages, rows: IntArray, ordinal: int, task: Task) -> None:
        started = time.monotonic()
        parts: list[Columns] = []
        # Pixels are read ahead while the previous ones are scored.
        chunks = row_chunks(len(rows), self.micro_batch)
        with prefetch(opened.pixels.read(rows[chunk]) for chunk in chunks) as blocks:
            for block in blocks:
                parts.append(columns_of(self.scorer.score(block, self.direction)))
                task.advance(len(block))
        columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        columns["digest"] = digests([opened.images[row].sample_id for row in rows])
        file = f"shard-{ordinal:05d}.safetensors"
        folder = self.session.workspace.score_folder(self.model.version)
        write_shard(folder / file, columns, ShardMetadata(self.model.version, self.micro_batch))
        shard = ScoreShard(ordinal, file, len(rows), time.monotonic() - started)
        with self.session.database.write() as connection:
            scores.add_shard(connection, self.model.key, shard)


def columns_of(found: GradientScores) -> Columns:
    """What a shard keeps of scores."""
    assert found.inner is not None  # there always is a direction
    return {
        "grad_sq_norm": found.sq_norm.double().cpu().numpy(),
        "grad_inner": found.inner.double().cpu().numpy(),
        "probabilities": found.probabilities.cpu().numpy(),
        "features": found.features.float().cpu().numpy(),
    }
