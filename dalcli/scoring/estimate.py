"""``score --dry-run``: what scoring would take, from a few batches that are scored and forgotten. Changes nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dalcli.data.pixel_cache import SEGMENT_BYTES
from dalcli.data.pixels import IntArray, UInt8Array, UnreadableImagesError
from dalcli.gradients.projection import SketchSpec
from dalcli.runtime.device import reproducible, resolve_device
from dalcli.runtime.memory import peak_bytes
from dalcli.scores.prescreen import CONTROL_SHARE, calibration_size
from dalcli.scores.settings import TableSettings
from dalcli.scores.store import missing, recorded, table_settings
from dalcli.scoring.columns import Extras, Scoring, columns_of, seen_by_proxy
from dalcli.scoring.extras import compared, decided, dropout_spec, sketched
from dalcli.scoring.labeled_gradient import LabeledGradient
from dalcli.scoring.run import kept_table, newest
from dalcli.scoring.scorer import Scorer
from dalcli.state import catalog
from dalcli.state.catalog import PoolImage
from dalcli.state.versions import ModelVersion
from dalcli.workspace import image_cache
from dalcli.workspace.images import ReadableImages, peek_images, row_chunks
from dalcli.workspace.session import Session

MOST_SECONDS = 5.0  # of calibration, after the first batch
MOST_BATCHES = 6
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
class _Calibration:
    """Seconds until the first sample counts, seconds of reading, of exact scores and of forward passes besides (0
    where none are made) per sample, seconds per labeled sample, bytes per row of the table.
    """

    start: float
    reading: float
    exact: float
    forward: float
    per_labeled: float
    row_bytes: int
    decision_bytes: int  # per sample that a prescreen learns from
    beside: bool  # whether reading goes on beside computing

    def per_sample(self, exact_share: float) -> float:
        """Seconds per sample of the pool, if ``exact_share`` of them get exact scores."""
        computing = self.forward + exact_share * self.exact
        return max(self.reading, computing) if self.beside else self.reading + computing


def estimate(session: Session, stale_ok: bool = False) -> ScoreEstimate:
    """Estimate; takes no lock, and writes neither rows nor files.

    Raises:
        NotReadyError: there is no model, or labels are newer than it.
        DalcliError: the model's files are damaged.
    """
    device = resolve_device(session.config.device)
    model = newest(session, stale_ok)
    gradient, kept = kept_table(session, model)
    with session.database.read() as connection:
        images = missing(connection, session.workspace, session.config, model, kept)
    scorer = Scorer(session, model, device)
    with reproducible(device, session.config.threads):
        return _estimate(session, model, scorer, images, gradient)


def _estimate(
    session: Session, model: ModelVersion, scorer: Scorer, images: Sequence[PoolImage], gradient: LabeledGradient | None
) -> ScoreEstimate:
    started = time.monotonic()
    micro_batch = _micro_batch(session, model, scorer)
    opened = peek_images(session, images, scorer.loaded.meta.spec.image_size)
    blocks = _blocks(opened, micro_batch)
    first = next(blocks, None)
    if first is None:
        session.feedback.note(f"up to date: the pool is scored with {model.version}")
        return ScoreEstimate(model.version, 0, micro_batch, 0.0, None, peak_bytes(), None, 0, 0)
    direction = _direction(scorer, gradient)
    with session.database.read() as connection:
        settings = table_settings(connection, session.config, model)
        pool = len(catalog.images(connection, "training"))
    spec = SketchSpec(settings.seed, settings.sketch) if settings.sketch else None
    scoring = Scoring(scorer, direction, micro_batch, Extras(spec, dropout=dropout_spec(settings)))
    found = _calibrate(session, scoring, settings, started, first, blocks, with_labeled=gradient is None)
    count, labeled = len(opened.images), model.labels if gradient is None else 0
    per_sample = found.per_sample(_exact_share(settings, pool))
    compared_pairs, learnt_from = _settling(session, model, settings, pool)
    extra = (compared_pairs + learnt_from) * (found.exact + found.forward)
    settled = learnt_from * found.decision_bytes + (8 * settings.sketch if compared_pairs else 0)
    parameters = sum(value.nbytes for value in direction.values())
    cache = image_cache.bytes_to_add(opened.cache)
    cache = cache if image_cache.has_room(session, cache) else 0
    shard = min(count, session.config.scoring.shard_size) * found.row_bytes
    # Not seen by the calibration: a shard with its copy, a segment of the cache with its copy, batches read ahead.
    unseen = 2 * shard + 2 * min(cache, SEGMENT_BYTES) + READ_AHEAD * micro_batch * int(np.prod(opened.pixels.shape))
    memory = peak_bytes()
    on_gpu = scorer.loaded.device.type == "cuda"
    return ScoreEstimate(
        version=model.version,
        samples=count,
        micro_batch=micro_batch,
        seconds=found.start + extra + count * per_sample + labeled * found.per_labeled,
        samples_per_second=1 / per_sample,
        memory=None if memory is None else memory + unseen,
        device_memory=torch.cuda.max_memory_reserved(scorer.loaded.device) if on_gpu else None,
        score_bytes=count * found.row_bytes + (parameters if gradient is None else 0) + settled,
        cache_bytes=cache,
    )


def _micro_batch(session: Session, model: ModelVersion, scorer: Scorer) -> int:
    """What a table begun earlier recorded, or what a new one would."""
    with session.database.read() as connection:
        if recorded(connection, model) == table_settings(connection, session.config, model):
            row = connection.execute("SELECT micro_batch FROM score_table WHERE model = ?", (model.key,)).fetchone()
            return int(row["micro_batch"])
    return scorer.micro_batch()


def _direction(scorer: Scorer, gradient: LabeledGradient | None) -> dict[str, Tensor]:
    """G_S, or something that costs as much."""
    if gradient is not None:
        return gradient.to(scorer.loaded.device)
    parameters = scorer.loaded.model.named_parameters()
    return {name: torch.ones_like(value).detach() for name, value in parameters if value.requires_grad}


def _calibrate(
    session: Session,
    scoring: Scoring,
    settings: TableSettings,
    started: float,
    first: UInt8Array,
    blocks: Iterator[UInt8Array],
    with_labeled: bool,
) -> _Calibration:
    """Score the first block, which pays for checks, then others, timing reading and computing apart."""
    with session.feedback.task("calibrating", None, "batches") as task:
        columns = columns_of(scoring.exact(first)) | scoring.dropped(first)
        _forward(scoring, settings, first)
        task.advance()
        start = time.monotonic() - started
        reading, exact, forward, samples, turns = 0.0, 0.0, 0.0, 0, 0
        while turns < MOST_BATCHES and (turns == 0 or reading + exact + forward < MOST_SECONDS):
            before = time.monotonic()
            block = next(blocks, None)
            between = time.monotonic()
            if block is None:
                if turns:
                    break
                block = first
            columns_of(scoring.exact(block))
            done = time.monotonic()
            forward += _forward(scoring, settings, block)
            reading, exact = reading + between - before, exact + done - between
            samples, turns = samples + len(block), turns + 1
            task.advance()
        labeled = _seconds_of_labeled(scoring.scorer, first) if with_labeled else 0.0
    row_bytes = sum(value[:1].nbytes for value in columns.values()) + 16 + int(settings.prescreened)
    # Reading goes on beside computing: on a GPU for nothing, on processor cores it takes its share of them.
    beside = scoring.scorer.loaded.device.type != "cpu"
    decision = 8 * (columns["probabilities"].shape[1] + columns["features"].shape[1] + 5) + 4 * settings.sketch
    return _Calibration(
        start, reading / samples, exact / samples, forward / samples, labeled, row_bytes, decision, beside
    )


def _forward(scoring: Scoring, settings: TableSettings, block: UInt8Array) -> float:
    """Seconds of the forward passes that a prescreen and dropout samples need."""
    before = time.monotonic()
    if settings.prescreened:
        seen_by_proxy(scoring.scorer.predict(block))
    scoring.dropped(block)
    return time.monotonic() - before


def _exact_share(settings: TableSettings, pool: int) -> float:
    """The share of samples that get exact scores."""
    if not settings.prescreened or calibration_size(pool) == 0:
        return 1.0
    return min(1.0, settings.prescreen + (1 - settings.prescreen) * CONTROL_SHARE)


def _settling(session: Session, model: ModelVersion, settings: TableSettings, pool: int) -> tuple[int, int]:
    """How many scores are made before the first shard: for the error of sketches, and for a prescreen to learn from."""
    folder = session.workspace.score_folder(model.version)
    pairs = compared(pool) ** 2 if settings.sketch and sketched(folder, settings) is None else 0
    return pairs, 0 if decided(folder, settings) else calibration_size(pool)


def _seconds_of_labeled(scorer: Scorer, block: UInt8Array) -> float:
    """Of G_S, per sample."""
    labels = torch.zeros(len(block), dtype=torch.int64, device=scorer.loaded.device)
    before = time.monotonic()
    scorer.engine.labeled_gradient([(scorer.inputs(block), labels)])
    return (time.monotonic() - before) / len(block)


def _blocks(opened: ReadableImages, size: int) -> Iterator[UInt8Array]:
    """Pixels of batches from all over the pool; what cannot be read is left out."""
    chunks = list(row_chunks(len(opened.images), size))
    # The last one, which may be smaller, comes last.
    order = np.linspace(0, len(chunks) - 1, min(len(chunks), MOST_BATCHES + 1)).astype(int)
    for number in order.tolist():
        block = _readable(opened, chunks[number])
        if len(block):
            yield block


def _readable(opened: ReadableImages, rows: IntArray) -> UInt8Array:
    try:
        return opened.pixels.read(rows)
    except UnreadableImagesError as error:
        rest = np.setdiff1d(rows, [failure.row for failure in error.failures])
        return opened.pixels.read(rest)
