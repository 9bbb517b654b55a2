"""``score``: gradient scores, probabilities and features of the whole pool under the newest model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from dalcli.commands.freshness import require_fresh
from dalcli.commands.labeled_gradient import LABELED_GRADIENT_NAME, LabeledGradient, labeled_gradient, stored
from dalcli.commands.score_shards import ShardWriter
from dalcli.commands.score_state import is_intact, missing, score_fingerprint
from dalcli.commands.scorer import Scorer
from dalcli.commands.session import Session
from dalcli.errors import NotReadyError
from dalcli.state import scores, versions
from dalcli.state.catalog import PoolImage
from dalcli.state.lock import compute_lock
from dalcli.state.scores import ScoreShard
from dalcli.state.versions import ModelVersion
from dalcli.training.device import reproducible, resolve_device


@dataclass(frozen=True)
class ScoreResult:
    """The complete score table of one version: the same whether it was made now or before."""

    version: str
    samples: int
    shards: int
    labeled: int
    labeled_gradient_norm: float


def run(session: Session, stale_ok: bool = False, wait: float = 0.0) -> ScoreResult:
    """Score what the newest version has not scored yet; shards that were damaged since are made again.

    Raises:
        NotReadyError: there is no model, or labels are newer than it.
        LockedError: another ``train`` or ``score`` is running.
        DalcliError: most of the images are missing, or the model's files are damaged.
    """
    device = resolve_device(session.config.device)
    newest(session, stale_ok)
    with compute_lock(session.workspace.lock_path, "score", wait):
        model = newest(session, stale_ok)  # another process may have trained while this one waited
        scorer = Scorer(session, model, device)
        gradient, micro_batch = _open_table(session, model, scorer)
        with session.database.read() as connection:
            images = missing(connection, session.workspace, session.config, model)
        if gradient is None or images:
            with reproducible(device, session.config.threads):
                gradient = _score(session, model, scorer, images, gradient, micro_batch)
        else:
            session.feedback.note(f"up to date: the pool is scored with {model.version}")
        with session.database.read() as connection:
            shards = scores.shards(connection, model.key)
    samples = sum(shard.samples for shard in shards)
    return ScoreResult(model.version, samples, len(shards), gradient.samples, gradient.norm)


def newest(session: Session, stale_ok: bool) -> ModelVersion:
    """The version to score with.

    Raises:
        NotReadyError: there is none, or labels are newer than it.
    """
    with session.database.read() as connection:
        model = versions.newest(connection)
        if model is None:
            raise NotReadyError("there is no model yet", "train one: dalcli train")
        if not stale_ok:
            require_fresh(connection, model, "score")
    return model


def kept_table(session: Session, model: ModelVersion) -> tuple[LabeledGradient | None, list[ScoreShard]]:
    """What a run would go on with: G_S and the shards that are intact.

    All shards of a table were made with one G_S: without it none of them can be gone on with.
    """
    folder = session.workspace.score_folder(model.version)
    settings = score_fingerprint(session.config, model)
    gradient = stored(folder / LABELED_GRADIENT_NAME, settings)
    with session.database.read() as connection:
        begun = scores.fingerprint(connection, model.key) == settings
        shards = scores.shards(connection, model.key) if begun and gradient is not None else []
    return gradient, [shard for shard in shards if is_intact(folder / shard.file, shard, model)]


def _open_table(session: Session, model: ModelVersion, scorer: Scorer) -> tuple[LabeledGradient | None, int]:
    """What is kept of an earlier run: G_S and the table's micro-batch; the rest is forgotten and deleted."""
    folder = session.workspace.score_folder(model.version)
    folder.mkdir(parents=True, exist_ok=True)
    settings = score_fingerprint(session.config, model)
    with session.database.read() as connection:
        begun = scores.fingerprint(connection, model.key) == settings
    proposed = 1 if begun else scorer.micro_batch()  # what an earlier run recorded counts
    with session.database.write() as connection:
        micro_batch = scores.begin(connection, model.key, proposed, settings)
        shards = scores.shards(connection, model.key)
    gradient, kept = kept_table(session, model)
    lost = [shard for shard in shards if shard not in kept]
    if lost:
        with session.database.write() as connection:
            scores.forget(connection, model.key, [shard.ordinal for shard in lost])
        session.feedback.warn(_lost(lost))
    for path in folder.iterdir():
        if path.name not in {LABELED_GRADIENT_NAME, *(shard.file for shard in kept)}:
            path.unlink()
    return gradient, micro_batch


def _lost(shards: Sequence[ScoreShard]) -> str:
    samples = sum(shard.samples for shard in shards)
    if len(shards) == 1:
        return f"{shards[0].file} is missing or damaged: scoring its {samples} samples again"
    return f"{len(shards)} score files are missing or damaged: scoring their {samples} samples again"


def _score(
    session: Session,
    model: ModelVersion,
    scorer: Scorer,
    images: Sequence[PoolImage],
    gradient: LabeledGradient | None,
    micro_batch: int,
) -> LabeledGradient:
    if gradient is None:
        settings = score_fingerprint(session.config, model)
        gradient = labeled_gradient(session, model, scorer, micro_batch, settings)
    started = time.monotonic()
    direction = gradient.to(scorer.loaded.device)
    written = ShardWriter(session, model, scorer, direction, micro_batch).write(images)
    seconds = max(time.monotonic() - started, 1e-9)
    for note in scorer.engine.notes:
        session.feedback.note(note)
    session.feedback.note(f"scored {written} samples in {seconds:.1f} s: {written / seconds:.0f} samples/s")
    return gradient
