"""``score``: gradient scores, probabilities and features of the whole pool under the newest model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from dalcli.errors import NotReadyError
from dalcli.runtime.device import reproducible
from dalcli.runtime.ranks import SOLO, Ranks
from dalcli.scores.labeled_sketch import SketchReport
from dalcli.scores.recall import PrescreenRecall
from dalcli.scores.settings import TableSettings, wanted_settings
from dalcli.scores.store import is_intact, missing, recorded, table_settings
from dalcli.scoring.extras import decided, dropout_spec, kept_names, settle, sketched
from dalcli.scoring.labeled_gradient import LABELED_GRADIENT_NAME, LabeledGradient, labeled_gradient, stored
from dalcli.scoring.report import recall, tell
from dalcli.scoring.scorer import Scorer
from dalcli.scoring.team import Team
from dalcli.scoring.waves import ShardWriter
from dalcli.state import scores, versions
from dalcli.state.catalog import PoolImage
from dalcli.state.lock import compute_lock
from dalcli.state.scores import ScoreShard
from dalcli.state.versions import ModelVersion
from dalcli.workspace.session import Session
from dalcli.workspace.versions import require_fresh


@dataclass(frozen=True)
class ScoreResult:
    """The complete score table of one version: the same whether it was made now or before."""

    version: str
    samples: int
    shards: int
    labeled: int
    labeled_gradient_norm: float
    sketch: SketchReport | None
    prescreen: PrescreenRecall | None


def score(session: Session, stale_ok: bool = False, wait: float = 0.0, ranks: Ranks = SOLO) -> ScoreResult:
    """Score what the newest version has not scored yet; shards that were damaged since are made again.

    Of several ``ranks`` this is the first; the others ``serve`` it (see ``score_team``).

    Raises:
        NotReadyError: there is no model, or labels are newer than it.
        LockedError: another ``train`` or ``score`` is running.
        DalcliError: most of the images are missing, or the model's files are damaged.
    """
    device = ranks.device(session.config.device)
    newest(session, stale_ok)
    with compute_lock(session.workspace.lock_path, "score", wait):
        model = newest(session, stale_ok)  # another process may have trained while this one waited
        scorer = Scorer(session, model, device)
        settings, gradient, micro_batch = _open_table(session, model, scorer)
        with session.database.read() as connection:
            images = missing(connection, session.workspace, session.config, model)
        folder = session.workspace.score_folder(model.version)
        unsettled = settings.sketch and sketched(folder, settings) is None
        if gradient is None or images or unsettled:
            with reproducible(device, session.config.threads):
                team = Team(session, ranks, model, scorer, micro_batch)
                gradient = _score(session, model, team, scorer, images, gradient, settings, micro_batch)
        else:
            session.feedback.note(f"up to date: the pool is scored with {model.version}")
        ranks.broadcast(None)  # the others may go
        with session.database.read() as connection:
            shards = scores.shards(connection, model.key)
        kept = sketched(folder, settings)
        result = ScoreResult(
            version=model.version,
            samples=sum(shard.samples for shard in shards),
            shards=len(shards),
            labeled=gradient.samples,
            labeled_gradient_norm=gradient.norm,
            sketch=None if kept is None else kept.report,
            prescreen=recall(session, model, settings, shards),
        )
    tell(session, result.sketch, result.prescreen)
    return result


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
    with session.database.read() as connection:
        settings = table_settings(connection, session.config, model)
        gradient = stored(folder / LABELED_GRADIENT_NAME, settings.pixels)
        whole = recorded(connection, model) == settings and gradient is not None and decided(folder, settings)
        shards = scores.shards(connection, model.key) if whole else []
    return gradient, [shard for shard in shards if is_intact(folder / shard.file, shard, model)]


def _open_table(
    session: Session, model: ModelVersion, scorer: Scorer
) -> tuple[TableSettings, LabeledGradient | None, int]:
    """What is kept of an earlier run: settings, G_S and the micro-batch; the rest is forgotten and deleted."""
    folder = session.workspace.score_folder(model.version)
    folder.mkdir(parents=True, exist_ok=True)
    with session.database.read() as connection:
        before, settings = recorded(connection, model), table_settings(connection, session.config, model)
    masks = dropout_spec(settings)
    if masks is not None and before != settings:  # before anything is thrown away
        scorer.sampler(masks)
    shortcoming = None if before is None else before.shortcoming(wanted_settings(session.config, model))
    if shortcoming is not None:
        session.feedback.note(f"{shortcoming}: scoring all samples again")
    proposed = 1 if before == settings else scorer.micro_batch()  # what an earlier run recorded counts
    with session.database.write() as connection:
        micro_batch = scores.begin(connection, model.key, proposed, settings.text())
        shards = scores.shards(connection, model.key)
    gradient, kept = kept_table(session, model)
    lost = [shard for shard in shards if shard not in kept]
    if lost:
        with session.database.write() as connection:
            scores.forget(connection, model.key, [shard.ordinal for shard in lost])
        session.feedback.warn(_lost(lost))
    for path in folder.iterdir():
        if path.name not in {LABELED_GRADIENT_NAME, *kept_names(settings), *(shard.file for shard in kept)}:
            path.unlink()
    return settings, gradient, micro_batch


def _lost(shards: Sequence[ScoreShard]) -> str:
    samples = sum(shard.samples for shard in shards)
    if len(shards) == 1:
        return f"{shards[0].file} is missing or damaged: scoring its {samples} samples again"
    return f"{len(shards)} score files are missing or damaged: scoring their {samples} samples again"


def _score(
    session: Session,
    model: ModelVersion,
    team: Team,
    scorer: Scorer,
    images: Sequence[PoolImage],
    gradient: LabeledGradient | None,
    settings: TableSettings,
    micro_batch: int,
) -> LabeledGradient:
    if gradient is None:
        gradient = labeled_gradient(session, model, team, settings.pixels)
    started = time.monotonic()
    direction = gradient.to(team.device)
    settle(session, model, scorer, settings, direction, micro_batch)
    team.use(direction, settings.text())
    written = ShardWriter(session, model, team).write(images)
    seconds = max(time.monotonic() - started, 1e-9)
    for note in team.engine_notes:
        session.feedback.note(note)
    processes = f" in {team.size} processes" if team.size > 1 else ""
    session.feedback.note(f"scored {written} samples in {seconds:.1f} s{processes}: {written / seconds:.0f} samples/s")
    return gradient
