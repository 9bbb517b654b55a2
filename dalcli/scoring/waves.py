"""The order of the work of ``score``: as many shards at a time as there are processes, recorded once they are complete.

A killed run loses at most one shard per process, and its repetition cuts the remaining samples into exactly the
same ones, on however many processes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dalcli.data.identity import digests
from dalcli.data.pixels import IntArray
from dalcli.errors import DalcliError
from dalcli.feedback import Task
from dalcli.scores.table import Digests, Shard
from dalcli.scoring.extras import VISIBLE_SECONDS
from dalcli.scoring.shards import ShardOutcome, ShardPlan
from dalcli.scoring.team import Team
from dalcli.state import scores
from dalcli.state.catalog import PoolImage
from dalcli.state.scores import ScoreShard
from dalcli.state.versions import ModelVersion
from dalcli.workspace.images import ReadableImages, open_images, set_aside_unreadable
from dalcli.workspace.session import Session


@dataclass(frozen=True)
class ShardWriter:
    """Lets ``team`` score images, and appends the shards to the score table of ``model``."""

    session: Session
    model: ModelVersion
    team: Team

    def write(self, images: Sequence[PoolImage]) -> int:
        """Score ``images`` in their order, ``scoring.shard_size`` at a time; how many were readable.

        Images found unreadable on the way are set aside and the next ones take their places, so that the shards
        are those of a pool that never had them.
        """
        opened = open_images(self.session, images, self.team.image_size)
        with self.session.database.read() as connection:
            known = scores.shards(connection, self.model.key)
        ordinal = known[-1].ordinal + 1 if known else 0
        rows = np.arange(len(opened.images), dtype=np.int64)
        written = 0
        label = f"scoring with {self.model.version}"
        with opened.remembered(self.session), self.session.feedback.task(label, len(rows)) as task:
            self.team.open(opened)
            while len(rows):
                plans = self._wave(rows, ordinal)
                outcomes = self.team.make(plans, task)
                made = self._record(opened, plans, outcomes, task)
                done = sum(len(plan.rows) for plan in plans[:made])
                rows, written, ordinal = rows[done:], written + done, ordinal + made
                failures = [failure for outcome in outcomes for failure in outcome.failures]
                if failures:
                    gone = set_aside_unreadable(self.session, opened.images, failures)
                    rows = rows[[opened.images[row].key not in gone for row in rows]]
        return written

    def _wave(self, rows: IntArray, ordinal: int) -> list[ShardPlan]:
        """The next shards, at most one for every process."""
        size = self.session.config.scoring.shard_size
        starts = range(0, len(rows), size)[: self.team.size]
        return [ShardPlan(ordinal + number, rows[start : start + size]) for number, start in enumerate(starts)]

    def _record(
        self, opened: ReadableImages, plans: Sequence[ShardPlan], outcomes: Sequence[ShardOutcome], task: Task
    ) -> int:
        """Record the shards that are complete; how many. Behind one that is not, the lists are no longer right."""
        folder = self.session.workspace.score_folder(self.model.version)
        made = next((place for place, outcome in enumerate(outcomes) if outcome.failures), len(plans))
        for place, (plan, outcome) in enumerate(zip(plans, outcomes, strict=True)):
            if place >= made:
                (folder / plan.file).unlink(missing_ok=True)
                continue
            if place > 0:  # made by another process, perhaps on another machine
                self._await(opened, plan, place)
                task.advance(len(plan.rows))
            shard = ScoreShard(plan.ordinal, plan.file, len(plan.rows), outcome.seconds)
            with self.session.database.write() as connection:
                scores.add_shard(connection, self.model.key, shard)
        return made

    def _await(self, opened: ReadableImages, plan: ShardPlan, rank: int) -> None:
        """Wait until the file that another process made is seen here, whole and with the right samples."""
        path = self.session.workspace.score_folder(self.model.version) / plan.file
        expected = digests([opened.images[row].sample_id for row in plan.rows])
        deadline = time.monotonic() + VISIBLE_SECONDS
        while not _holds(path, expected):
            if time.monotonic() > deadline:
                raise DalcliError(
                    f"{self.team.name(rank)} has written {plan.file}, but it does not arrive in {path.parent}",
                    "the workspace must be one folder that all machines of a torchrun share",
                )
            time.sleep(0.5)


def _holds(path: Path, expected: Digests) -> bool:
    """Whether the shard at ``path`` is intact and its samples are ``expected``."""
    try:
        shard = Shard(path)
        found = [block.digests for block in shard.blocks(list(shard.header.layout))]
    except DalcliError:
        return False
    return bool(np.array_equal(np.concatenate(found), expected))
