"""One shard of a score table: a fixed list of samples, scored and written as one file. Any process may make it.

No database here: a file counts once rank 0 has recorded it (see ``score_waves``).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dalcli.data.identity import digests
from dalcli.data.pixels import Failure, IntArray, UInt8Array, UnreadableImagesError
from dalcli.feedback import Task
from dalcli.runtime.prefetch import prefetch
from dalcli.scores.table import ShardMetadata, write_shard
from dalcli.scoring.columns import Scoring
from dalcli.workspace.images import ReadableImages, row_chunks


@dataclass(frozen=True)
class Target:
    """What all shards of one table share: how they are scored, and ``folder``, the table's."""

    scoring: Scoring
    version: str
    folder: Path


@dataclass(frozen=True)
class ShardPlan:
    """A file to be made: its place in the table, and which rows of the opened images it holds."""

    ordinal: int
    rows: IntArray

    @property
    def file(self) -> str:
        return f"shard-{self.ordinal:05d}.safetensors"


@dataclass(frozen=True)
class ShardOutcome:
    """What became of a plan: the seconds it took, or the images that could not be read."""

    seconds: float = 0.0
    failures: tuple[Failure, ...] = ()


def make_shard(target: Target, opened: ReadableImages, plan: ShardPlan, task: Task) -> ShardOutcome:
    """Score the samples of ``plan`` and write their file; nothing is written if one of them cannot be read."""
    started = time.monotonic()
    scoring, done = target.scoring, 0

    def counted(blocks: Iterable[UInt8Array]) -> Iterator[UInt8Array]:
        nonlocal done
        for block in blocks:
            yield block
            done += len(block)
            task.advance(len(block))

    ids = digests([opened.images[row].sample_id for row in plan.rows])
    # Pixels are read ahead while the previous ones are scored.
    chunks = row_chunks(len(plan.rows), scoring.micro_batch)
    try:
        with prefetch(opened.pixels.read(plan.rows[chunk]) for chunk in chunks) as blocks:
            columns = scoring.columns(ids, counted(blocks))
    except UnreadableImagesError as error:
        task.advance(-done)
        return ShardOutcome(failures=error.failures)
    write_shard(target.folder / plan.file, columns, ShardMetadata(target.version, scoring.micro_batch))
    return ShardOutcome(time.monotonic() - started)
