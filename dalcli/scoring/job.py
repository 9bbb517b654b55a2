"""One scoring run as one value, and what every process does with it: G_S, then shard after shard.

Rank 0 cuts the pool into shards (``plan``), announces the :class:`ScoringJob` and records what its waves have made
(``run``); the others only carry it out. An image is cut out three times on its way to its score: into a *shard*, what a
killed run loses at most; into a *micro-batch*, recorded with the table so that the same images are always scored
together, to the same bits; and inside the engine into a *piece*, as many as memory and a processor's cache hold.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, TypeAdapter

from dalcli.data.identity import digests
from dalcli.data.pixels import Failure, Inputs, IntArray, UnreadableImagesError
from dalcli.feedback import SilentFeedback, SilentTask, Task
from dalcli.runtime.ranks import Ranks
from dalcli.runtime.sharing import share
from dalcli.scores.columns import Group
from dalcli.scores.settings import TableSettings
from dalcli.scores.table import ShardMetadata, write_shard
from dalcli.scoring import labeled_gradient
from dalcli.scoring.columns import Extras, Scoring
from dalcli.scoring.labeled_gradient import LabeledGradient, LabeledImages
from dalcli.scoring.scorer import Scorer
from dalcli.scoring.settling import VISIBLE_SECONDS, dropout_spec, settle, settled
from dalcli.state.versions import ModelVersion
from dalcli.workspace.images import Listing, PoolImages
from dalcli.workspace.jobs import Job
from dalcli.workspace.session import Session, Surroundings
from dalcli.workspace.versions import none_readable


class ShardPlan(BaseModel):
    """A file to be made: ``groups`` of columns of the images ``rows`` of a job, for the shard ``ordinal``."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    ordinal: int
    rows: tuple[int, ...]
    groups: tuple[Group, ...]

    @property
    def file(self) -> str:
        """The shard's name; what is added to a shard that is there says what it is."""
        added = "" if Group.PREDICTIONS in self.groups else f"-{'-'.join(sorted(self.groups))}"
        return f"shard-{self.ordinal:05d}{added}.safetensors"


class LabeledSet(BaseModel):
    """What G_S is to be summed over: rows of a job's images, and the classes that the model was trained with."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    rows: tuple[int, ...]
    labels: tuple[int, ...]


class ScoringJob(Job):
    """Everything that any process needs for its share of one scoring run.

    Attributes:
        settings: what the table is made with.
        micro_batch: images scored at once.
        images: those that rows mean, of ``shards`` and of ``labeled``; ``cached``: what is decoded is kept on disk.
        labeled: S, for G_S; None where none is needed, or the one that is kept serves.
        gradients: whether any shard is to get gradient columns, so that G_S has to be at hand.
    """

    model: ModelVersion
    settings: TableSettings
    micro_batch: int
    images: Listing
    cached: bool
    shards: tuple[ShardPlan, ...]
    labeled: LabeledSet | None
    gradients: bool


@dataclass
class ScoringProcess:
    """What one process works with.

    Rank 0's alone: ``session``, ``kept`` (G_S of an earlier run), ``task``, and ``engine_notes`` of all engines.
    ``hosts``: of all processes, once they are at work.
    """

    scorer: Scorer
    folder: Path
    images: PoolImages
    session: Session | None = None
    kept: LabeledGradient | None = None
    task: Task = field(default_factory=SilentTask)
    hosts: tuple[str, ...] = ()
    engine_notes: dict[str, None] = field(default_factory=dict)

    @classmethod
    def following(cls, job: ScoringJob, surroundings: Surroundings, ranks: Ranks) -> Self:
        """For any process but rank 0: nothing is looked for, everything is where rank 0 says."""
        scorer = Scorer(surroundings, job.model, ranks.device(job.config.device))
        seen = scorer.loaded.meta.spec.seen
        images = PoolImages.reopen(surroundings, job.images, seen, look_only=not job.cached)
        return cls(scorer, surroundings.workspace.score_folder(job.model.version), images)

    def name(self, rank: int) -> str:
        """A process, for people."""
        return f"process {rank} on {self.hosts[rank]}"

    def with_notes(self, outcome: ShardOutcome) -> ShardOutcome:
        """``outcome`` with what this process and its engine have to say."""
        feedback = self.scorer.feedback
        notes = feedback.take() if isinstance(feedback, RelayedFeedback) else []
        return replace(outcome, notes=tuple(notes), engine=tuple(self.scorer.notes))


class RelayedFeedback(SilentFeedback):
    """Keeps what a process that does not speak has to say, for rank 0 to say it."""

    def __init__(self) -> None:
        self._kept: list[str] = []

    def note(self, message: str) -> None:
        self._kept.append(message)

    warn = note

    def take(self) -> list[str]:
        """What was said since the last call."""
        taken, self._kept = self._kept, []
        return taken


@dataclass(frozen=True)
class ShardOutcome:
    """What became of a plan: the seconds it took, or the images that could not be read; and what its process says.

    ``engine`` are the notes of its engine so far.
    """

    seconds: float = 0.0
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()
    engine: tuple[str, ...] = ()


_OUTCOME: TypeAdapter[ShardOutcome] = TypeAdapter(ShardOutcome)
Wave = list[tuple[ShardPlan, ShardOutcome]]
"""As many shards as there are processes, one each, by rank."""


def score(job: ScoringJob, ranks: Ranks, process: ScoringProcess) -> Iterator[LabeledGradient | Wave | None]:
    """What every process does: first G_S comes out, if it is needed, then wave after wave of shards.

    It ends early, behind the wave in which some process could not read an image.

    Raises:
        DalcliError: on any process; then all of them end.
    """
    process.hosts = tuple(map(str, ranks.gather(socket.gethostname())))
    gradient = _labeled_gradient(job, ranks, process)
    yield gradient
    direction = {} if gradient is None else gradient.to(process.scorer.device)
    scoring = Scoring(process.scorer, direction, job.micro_batch)
    with ranks.agreed():
        if process.session is not None and job.gradients:
            settle(process.session, job.model, job.settings, scoring)
    with ranks.agreed():
        extras = Extras(dropout=dropout_spec(job.settings))  # a job without gradients has no G_S to settle by
        if job.gradients:
            extras = settled(process.folder, job.settings, wait=0.0 if ranks.main else VISIBLE_SECONDS)
        scoring = Scoring(process.scorer, direction, job.micro_batch, extras)
    for start in range(0, len(job.shards), ranks.size):
        plans = job.shards[start : start + ranks.size]
        with ranks.agreed():
            idle = ranks.rank >= len(plans)  # the last wave may have fewer shards than processes
            own = ShardOutcome() if idle else make_shard(job, plans[ranks.rank], process, scoring)
            own = process.with_notes(own)
        outcomes = [_OUTCOME.validate_python(found) for found in ranks.gather(_OUTCOME.dump_python(own, mode="json"))]
        yield list(zip(plans, outcomes, strict=False))
        if any(outcome.failures for outcome in outcomes):
            return


def _labeled_gradient(job: ScoringJob, ranks: Ranks, process: ScoringProcess) -> LabeledGradient | None:
    """G_S on every rank, if it is needed: summed by all of them, or what rank 0 has kept."""
    if not job.gradients:
        return None
    if job.labeled is None:
        kept = {} if process.kept is None else process.kept.tensors
        samples = 0 if process.kept is None else process.kept.samples
        return process.kept if ranks.size == 1 else LabeledGradient.of(share(kept, ranks), samples)
    labeled = LabeledImages(process.images, np.array(job.labeled.rows), np.array(job.labeled.labels), process.hosts)
    found = labeled_gradient.summed(process.scorer, labeled, job.micro_batch, ranks)
    with ranks.agreed():
        if found is None:
            raise none_readable(job.model)
    return found


def make_shard(job: ScoringJob, plan: ShardPlan, process: ScoringProcess, scoring: Scoring) -> ShardOutcome:
    """Compute and write one file. If images cannot be read, nothing is written."""
    started = time.monotonic()
    rows = np.array(plan.rows, dtype=np.int64)
    ids = digests([process.images.images[row].sample_id for row in plan.rows])
    progress = _Progress(process.task)
    try:
        blocks = progress.counted(process.images, rows, job.micro_batch)
        columns = scoring.columns(ids, blocks, plan.groups)
    except UnreadableImagesError as error:
        progress.take_back()
        return ShardOutcome(failures=error.failures)
    write_shard(process.folder / plan.file, columns, ShardMetadata(job.model.version, job.micro_batch))
    return ShardOutcome(time.monotonic() - started)


class _Progress:
    """Counts the images of one shard, which count for nothing if it fails."""

    def __init__(self, task: Task) -> None:
        self._task, self._done = task, 0

    def counted(self, images: PoolImages, rows: IntArray, size: int) -> Iterator[Inputs]:
        """``size`` inputs at a time, read ahead while the previous ones are scored."""
        step = images.at_once or size
        step = step if size % step == 0 else size
        waiting: list[Inputs] = []
        for start, block in zip(count(0, step), images.blocks(step, rows, complete=True), strict=False):
            waiting.append(block.inputs)
            if (start + step) % size == 0 or start + step >= len(rows):
                yield waiting[0] if len(waiting) == 1 else np.concatenate(waiting)
                waiting = []
            self._done += len(block)
            self._task.advance(len(block))

    def take_back(self) -> None:
        self._task.advance(-self._done)
