"""``score``: gradient scores, probabilities and features of the whole pool under the newest model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from dalcli.commands.labeled_gradient import LABELED_GRADIENT_NAME, LabeledGradient, labeled_gradient, stored
from dalcli.commands.loading import load_version
from dalcli.commands.pixels import open_images
from dalcli.commands.score_shards import ShardWriter
from dalcli.commands.score_state import missing, score_fingerprint
from dalcli.commands.session import Session
from dalcli.errors import NotReadyError
from dalcli.scoring.engine import GradientEngine
from dalcli.state import scores, versions
from dalcli.state.catalog import PoolImage
from dalcli.state.lock import compute_lock
from dalcli.state.versions import ModelVersion
from dalcli.training.device import reproducible, resolve_device

MEMORY_LIMIT_BYTES = 2 << 30


@dataclass(frozen=True)
class ScoreResult:
    """The complete score table of one version: the same whether it was made now or before."""

    version: str
    samples: int
    shards: int
    labeled: int
    labeled_gradient_norm: float


def run(session: Session, stale_ok: bool = False, wait: float = 0.0) -> ScoreResult:
    """Score what the newest version has not scored yet.

    Raises:
        NotReadyError: there is no model, or labels are newer than it.
        LockedError: another ``train`` or ``score`` is running.
    """
    device = resolve_device(session.config.device)
    model = _newest(session, stale_ok)
    with compute_lock(session.workspace.lock_path, "score", wait):
        micro_batch = _prepare(session, model)
        with session.database.read() as connection:
            settings = score_fingerprint(connection, session.config, model)
            images = missing(connection, session.workspace, session.config, model)
        path = session.workspace.score_folder(model.version) / LABELED_GRADIENT_NAME
        gradient = stored(path, settings)
        if gradient is None or images:
            with reproducible(device, session.config.threads):
                gradient = _score(session, model, device, images, micro_batch, settings)
        else:
            session.feedback.note(f"up to date: the pool is scored with {model.version}")
    with session.database.read() as connection:
        shards = scores.shards(connection, model.key)
    samples = sum(shard.samples for shard in shards)
    return ScoreResult(model.version, samples, len(shards), gradient.samples, gradient.norm)


def _newest(session: Session, stale_ok: bool) -> ModelVersion:
    with session.database.read() as connection:
        model = versions.newest(connection)
        if model is None:
            raise NotReadyError("there is no model yet", "train one: dalcli train")
        newer = versions.newer_labels(connection, model)
    if newer and not stale_ok:
        raise NotReadyError(
            f"{newer} labels are newer than model {model.version}",
            "run `dalcli train` first, or pass --stale-ok to score with the old model",
        )
    return model


def _prepare(session: Session, model: ModelVersion) -> int:
    """Open the score table, forget shards whose files somebody deleted; the table's micro-batch."""
    folder = session.workspace.score_folder(model.version)
    folder.mkdir(parents=True, exist_ok=True)
    with session.database.write() as connection:
        settings = score_fingerprint(connection, session.config, model)
        micro_batch = scores.begin(connection, model.key, session.config.scoring.batch_size, settings)
        gone = [s.ordinal for s in scores.shards(connection, model.key) if not (folder / s.file).is_file()]
        scores.forget(connection, model.key, gone)
    return micro_batch


def _score(
    session: Session,
    model: ModelVersion,
    device: torch.device,
    images: Sequence[PoolImage],
    micro_batch: int,
    settings: str,
) -> LabeledGradient:
    loaded = load_version(session, model, device)
    engine = GradientEngine(loaded.model, head=loaded.head, memory_limit_bytes=MEMORY_LIMIT_BYTES)
    gradient = labeled_gradient(session, model, loaded, engine, micro_batch, settings)
    opened = open_images(session, images, loaded.meta.spec.image_size)
    started = time.monotonic()
    with session.feedback.task(f"scoring with {model.version}", len(opened.images)) as task:
        ShardWriter(session, model, loaded, engine, gradient.tensors, micro_batch, task).write(opened)
    for note in engine.notes:
        session.feedback.note(note)
    if opened.images:
        seconds = max(time.monotonic() - started, 1e-9)
        rate = len(opened.images) / seconds
        session.feedback.note(f"scored {len(opened.images)} samples in {seconds:.1f} s: {rate:.0f} samples/s")
    return gradient
