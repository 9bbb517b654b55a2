"""``score --dry-run``: what scoring would take, from a slice of the real pass that is timed and forgotten.

Takes no lock, and writes neither rows nor files.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from dalcli.data.identity import digests
from dalcli.data.pixels import Inputs, IntArray
from dalcli.data.row_cache import SEGMENT_BYTES
from dalcli.runtime.device import reproducible, resolve_device
from dalcli.runtime.memory import peak_bytes
from dalcli.scores.columns import Group
from dalcli.scores.prescreen import CONTROL_SHARE, calibration_size
from dalcli.scoring.columns import Columns, Extras, Scoring
from dalcli.scoring.plan import Cut, Prepared, cut, survey, wanted_groups
from dalcli.scoring.run import ScoreRequest, newest, open_store
from dalcli.scoring.scorer import Scorer
from dalcli.scoring.settling import compared, decided, dropout_spec, settled, sketch_spec, unsketched
from dalcli.state import catalog
from dalcli.workspace import image_cache
from dalcli.workspace.images import PoolImages
from dalcli.workspace.session import Session

MOST_SECONDS = 5.0  # of a slice
MOST_BATCHES = 6
SLOW_AT_ONCE = 32
READ_AHEAD = 3  # batches of pixels that are in memory at once


@dataclass(frozen=True)
class ScoreEstimate:
    """What ``score`` would take now: wall-clock seconds, peak memory, and disk space that it adds, in bytes.

    ``device_memory`` is the GPU's; None without one. ``memory`` is None where the system does not tell.
    """

    version: str
    samples: int
    micro_batch: int
    seconds: float
    samples_per_second: float | None
    memory: int | None
    device_memory: int | None
    score_bytes: int
    cache_bytes: int


@dataclass(frozen=True)
class TimedSlice:
    """A part of the real pass: seconds and bytes of table per sample."""

    seconds: float
    row_bytes: int


def estimate(session: Session, request: ScoreRequest | None = None) -> ScoreEstimate:
    """Foretell what :func:`~dalcli.scoring.run.score` would take.

    Raises:
        NotReadyError: there is no model, or labels are newer than it.
        DalcliError: the model's files are damaged.
    """
    request = request or ScoreRequest()
    started = time.monotonic()
    device = resolve_device(session.config.device)
    model = newest(session, request.stale_ok)
    store = open_store(session, model)
    groups = wanted_groups(store, request.full, request.columns)
    scorer = Scorer(session, model, device)
    settings = store.settings(groups)
    surveyed = survey(store, settings)
    micro_batch = store.micro_batch or scorer.micro_batch()
    prepared = Prepared(surveyed.store, groups, settings, micro_batch, surveyed.gradient)
    found = cut(session, prepared)
    with (
        reproducible(device, session.config.threads),
        PoolImages.peek(session, found.images, scorer.loaded.meta.spec.seen) as images,
    ):
        if not len(images):
            session.feedback.note(f"up to date: the pool is scored with {model.version}")
            return ScoreEstimate(
                version=model.version,
                samples=0,
                micro_batch=micro_batch,
                seconds=0.0,
                samples_per_second=None,
                memory=peak_bytes(),
                device_memory=None,
                score_bytes=0,
                cache_bytes=0,
            )
        if images.at_once is not None and images.bytes_to_cache:  # a network has yet to look at them
            prepared = replace(prepared, micro_batch=min(micro_batch, SLOW_AT_ONCE))
        return replace(_estimate(session, prepared, found, images, scorer, started), micro_batch=micro_batch)


def _estimate(
    session: Session, prepared: Prepared, found: Cut, images: PoolImages, scorer: Scorer, started: float
) -> ScoreEstimate:
    settings, folder = prepared.settings, prepared.store.folder
    with_gradients = Group.GRADIENTS in prepared.groups
    labeled = prepared.store.model.labels if with_gradients and prepared.gradient is None else 0
    scoring = _scoring(prepared, scorer)
    groups = _common_groups(found)
    with session.feedback.task("calibrating", 2, "passes") as task:
        # The first batch pays for checks, and for all that is made on first use.
        first = _slice(scoring, images, groups, most=1)
        start = time.monotonic() - started
        task.advance()
        timed = _slice(scoring, images, groups, most=MOST_BATCHES)
        task.advance()
        per_labeled = _seconds_of_labeled(scorer, images, prepared.micro_batch) if labeled else 0.0
    per_sample, settling = _with_settling(session, prepared, scoring, images, timed)
    count = len(images)
    # The first batch's ordinary part is among all samples', too.
    counted_twice = min(count, prepared.micro_batch) * min(first.seconds, timed.seconds)
    cache = images.bytes_to_cache
    cache = cache if image_cache.has_room(session, cache) else 0
    shard = min(count, session.config.scoring.shard_size) * timed.row_bytes
    # Not seen in a slice: a shard with its copy, a segment of the cache with its copy, batches read ahead.
    pixels = prepared.micro_batch * int(np.prod(images.source.shape))
    unseen = 2 * shard + 2 * min(cache, SEGMENT_BYTES) + READ_AHEAD * pixels
    memory = peak_bytes()
    parameters = sum(value.nbytes for value in scoring.direction.values()) if labeled else 0
    kept = 8 * settings.gradients.sketch if settings.gradients is not None and unsketched(folder, settings) else 0
    return ScoreEstimate(
        version=prepared.store.model.version,
        samples=count,
        micro_batch=prepared.micro_batch,
        seconds=start - counted_twice + settling + count * per_sample + labeled * per_labeled,
        samples_per_second=1 / per_sample,
        memory=None if memory is None else memory + unseen,
        device_memory=torch.cuda.max_memory_reserved(scorer.device) if scorer.device.type == "cuda" else None,
        score_bytes=count * timed.row_bytes + parameters + kept + _decision_bytes(session, prepared, timed),
        cache_bytes=cache,
    )


def _common_groups(found: Cut) -> frozenset[Group]:
    """What most images of the run get: a slice of it is timed."""
    sizes: dict[tuple[Group, ...], int] = {}
    for plan in found.shards:
        sizes[plan.groups] = sizes.get(plan.groups, 0) + len(plan.rows)
    most: tuple[Group, ...] = max(sizes, key=sizes.__getitem__)
    return frozenset(most)


def _scoring(prepared: Prepared, scorer: Scorer) -> Scoring:
    """As the run would score, but for what is not settled yet; G_S, or something that costs as much."""
    settings = prepared.settings
    direction = {}
    if Group.GRADIENTS in prepared.groups:
        parameters = scorer.loaded.model.named_parameters()
        direction = (
            prepared.gradient.to(scorer.device)
            if prepared.gradient is not None
            else {name: torch.ones_like(value).detach() for name, value in parameters if value.requires_grad}
        )
    extras = Extras(sketch_spec(settings), dropout=dropout_spec(settings))
    if decided(prepared.store.folder, settings):
        extras = settled(prepared.store.folder, settings)
    return Scoring(scorer, direction, prepared.micro_batch, extras)


def _slice(scoring: Scoring, images: PoolImages, groups: Collection[Group], most: int) -> TimedSlice:
    """Time the real pass on ``most`` micro-batches from all over the pool, or as many as take a few seconds."""
    stream = _Stream(images, scoring.micro_batch, most)
    columns: Columns = scoring.columns(stream.ids, iter(stream), groups)
    sizes = sum(value[:1].nbytes for value in columns.values())
    return TimedSlice(stream.seconds / max(stream.done, 1), sizes)


class _Stream:
    """Blocks of pixels as a run reads them, ahead of the scoring; it ends after ``most`` blocks or seconds enough.

    Reading goes on beside the last block, as it would.
    """

    def __init__(self, images: PoolImages, size: int, most: int) -> None:
        self._images, self._size, self._most = images, size, most
        chunks = [np.arange(start, min(start + size, len(images))) for start in range(0, len(images), size)]
        # The last one, which may be smaller, comes last; short pools are read again and again.
        order = np.linspace(0, len(chunks) - 1, min(len(chunks), most + READ_AHEAD)).astype(int)
        self._rows: IntArray = np.concatenate([chunks[number] for number in order])
        rounds = -(-(most + READ_AHEAD) * size // len(self._rows))
        self._rows = np.tile(self._rows, rounds)
        self.ids = digests([images.images[row].sample_id for row in self._rows])
        self.seconds, self.done = 0.0, 0

    def __iter__(self) -> Iterator[Inputs]:
        started: float | None = None
        blocks = self._images.blocks(self._size, self._rows)
        for number, block in enumerate(blocks):
            now = time.monotonic()
            started = now if started is None else started
            self.seconds = now - started
            if number >= self._most or (number and self.seconds > MOST_SECONDS):
                return
            yield block.inputs
            self.done += len(block)
        if started is not None:
            self.seconds = time.monotonic() - started


def _with_settling(
    session: Session, prepared: Prepared, scoring: Scoring, images: PoolImages, timed: TimedSlice
) -> tuple[float, float]:
    """Seconds per sample of the run, and of what is settled before its first shard."""
    settings, folder = prepared.settings, prepared.store.folder
    made = settings.gradients
    if made is None or Group.GRADIENTS not in prepared.groups:
        return timed.seconds, 0.0
    pool = _pool_size(session)
    pairs = compared(pool) ** 2 if unsketched(folder, settings) else 0
    if decided(folder, settings) or calibration_size(pool) == 0:
        return timed.seconds, pairs * timed.seconds
    # Nobody knows yet who is worth exact scores: so many of them, behind a forward pass for everybody.
    forward = _slice(scoring, images, frozenset({Group.PREDICTIONS}), most=MOST_BATCHES)
    share = min(1.0, made.prescreen + (1 - made.prescreen) * CONTROL_SHARE)
    learning = calibration_size(pool) * (timed.seconds + forward.seconds)
    return forward.seconds + share * timed.seconds, pairs * timed.seconds + learning


def _decision_bytes(session: Session, prepared: Prepared, timed: TimedSlice) -> int:
    """Of what a prescreen learns from, where that is still to be made."""
    if decided(prepared.store.folder, prepared.settings):
        return 0
    return 2 * timed.row_bytes * calibration_size(_pool_size(session))


def _pool_size(session: Session) -> int:
    with session.database.read() as connection:
        return len(catalog.readable_ids(connection, "training"))


def _seconds_of_labeled(scorer: Scorer, images: PoolImages, size: int) -> float:
    """Of G_S, per sample."""
    block = next(iter(images.blocks(size, np.arange(min(size, len(images)), dtype=np.int64))), None)
    if block is None:
        return 0.0
    labels = torch.zeros(len(block), dtype=torch.int64, device=scorer.device)
    before = time.monotonic()
    scorer.engine.labeled_gradient([(scorer.inputs(block.inputs), labels)])
    return (time.monotonic() - before) / len(block)
