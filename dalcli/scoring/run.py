"""Scoring the pool, as a service: the first file of this room to read.

``plan`` says what is missing and cuts it into shards, ``job`` is what every process does with them, ``columns`` turns
pixels into columns, ``scorer`` is a version's engine, ``settling`` what is decided once per table; ``estimate``
foretells all that, and ``report`` says how honest the result is.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dalcli.config.words import counted
from dalcli.data.identity import digests
from dalcli.errors import DalcliError, NotReadyError
from dalcli.feedback import Task
from dalcli.runtime.device import reproducible
from dalcli.runtime.ranks import SOLO, Ranks
from dalcli.scores.columns import Group
from dalcli.scores.labeled_sketch import SketchReport
from dalcli.scores.recall import PrescreenRecall
from dalcli.scores.store import ScoreStore
from dalcli.scores.table import ShardFile
from dalcli.scoring import job as jobs
from dalcli.scoring import labeled_gradient
from dalcli.scoring.job import RelayedFeedback, ScoringJob, ScoringProcess, ShardPlan, Wave
from dalcli.scoring.labeled_gradient import LabeledGradient
from dalcli.scoring.plan import Cut, Prepared, cut, labeled_images, make_job, prepare, wanted_groups
from dalcli.scoring.report import recall, tell
from dalcli.scoring.scorer import Scorer
from dalcli.scoring.settling import VISIBLE_SECONDS, sketched, unsketched
from dalcli.state import versions
from dalcli.state.catalog import PoolImage
from dalcli.state.lock import compute_lock
from dalcli.state.scores import ScoreFile
from dalcli.state.versions import ModelVersion
from dalcli.state.workspace import find
from dalcli.workspace.images import PoolImages
from dalcli.workspace.jobs import announced, no_more
from dalcli.workspace.session import Session, Surroundings
from dalcli.workspace.versions import require_fresh


@dataclass(frozen=True)
class ScoreRequest:
    """What is to be scored, and when to give up.

    ``full``: all columns; else those that ``columns`` need (None: what the configured strategy reads). ``stale_ok``:
    with a model that has not seen the newest labels. ``wait``: seconds for another ``train`` or ``score`` to end.
    """

    full: bool = False
    columns: tuple[str, ...] | None = None
    stale_ok: bool = False
    wait: float = 0.0


@dataclass(frozen=True)
class ScoreResult:
    """The score table of one version: the same whether it was made now or before.

    ``labeled`` and ``labeled_gradient_norm`` (of G_S) are None in a table without gradients.
    """

    version: str
    samples: int
    shards: int
    columns: tuple[str, ...]
    labeled: int | None
    labeled_gradient_norm: float | None
    sketch: SketchReport | None
    prescreen: PrescreenRecall | None


def score(session: Session, request: ScoreRequest | None = None, ranks: Ranks = SOLO) -> ScoreResult:
    """Score what the newest version has not scored yet; shards that were damaged since are made again.

    Of several ``ranks`` this is the first; the others :func:`serve`.

    Raises:
        NotReadyError: there is no model, or labels are newer than it.
        LockedError: another ``train`` or ``score`` is running.
        DalcliError: most of the images are missing, or the model's files are damaged.
    """
    request = request or ScoreRequest()
    device = ranks.device(session.config.device)
    newest(session, request.stale_ok)
    with compute_lock(session.workspace.lock_path, "score", request.wait):
        model = newest(session, request.stale_ok)  # another process may have trained while this one waited
        scorer = Scorer(session, model, device)
        store = open_store(session, model)
        groups = wanted_groups(store, request.full, request.columns)
        prepared = prepare(session, store, groups, scorer)
        with reproducible(device, session.config.threads):
            worked = False
            while (found := cut(session, prepared)).shards or found.lost or _unsettled(prepared):
                prepared, worked = _work(session, prepared, found, scorer, ranks), True
        if not worked:
            session.feedback.note(f"up to date: the pool is scored with {model.version}")
        no_more(ranks)
        store = open_store(session, model)
        _require_features(session, store)
        result = _result(session, store, prepared.gradient)
    tell(session.feedback, result.sketch, result.prescreen)
    return result


def serve(directory: Path | None, ranks: Ranks) -> None:
    """What every process but rank 0 does: carry out its jobs, until there are no more."""
    for document in announced(ranks):
        with ranks.agreed():
            job = ScoringJob.received(document)
            surroundings = Surroundings(find(directory), job.config, RelayedFeedback())
            process = ScoringProcess.following(job, surroundings, ranks)
        with reproducible(process.scorer.device, job.config.threads), process.images:
            for _ in jobs.score(job, ranks, process):
                pass


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


def open_store(session: Session, model: ModelVersion) -> ScoreStore:
    """The score store of ``model`` as it is now."""
    with session.database.read() as connection:
        return ScoreStore.open(connection, session.workspace, session.config, model)


def _require_features(session: Session, store: ScoreStore) -> None:
    """Those of a frozen network are not in the shards: a cache that could not be written has lost them."""
    if store.features is None:
        return
    with session.database.read() as connection:
        missing = store.count_missing(connection, [Group.PREDICTIONS])
    if missing:
        raise DalcliError(
            f"the features of {counted(missing, 'sample')} could not be kept in {store.features.folder}",
            "make room on that disk, and run: dalcli score",
        )


def _unsettled(prepared: Prepared) -> bool:
    """Whether G_S or the error of sketches is still to be computed, although no shard is missing."""
    gradients = Group.GRADIENTS in prepared.groups
    return gradients and (prepared.gradient is None or unsketched(prepared.store.folder, prepared.settings))


def _work(session: Session, prepared: Prepared, found: Cut, scorer: Scorer, ranks: Ranks) -> Prepared:
    """One job; what there is afterwards. Where images turned out to be unreadable, others take their places then."""
    if found.lost:
        return replace(prepared, store=_forgotten(session, prepared.store, found.lost))
    store, gradient, done = prepared.store, prepared.gradient, 0
    with _process(session, prepared, found, scorer, ranks) as prepared_work:
        if prepared_work is None:
            return prepared
        job, process = prepared_work
        waves = jobs.score(job, ranks, process)
        if (labeled := next(waves)) is not None and job.labeled is not None:
            assert isinstance(labeled, LabeledGradient)
            gradient = labeled
            labeled_gradient.keep(store.labeled_gradient_path, gradient, store.pixels)
        started = time.monotonic()
        with _progress(session, job, process) as task:
            for wave in waves:
                assert isinstance(wave, list)
                done += _record(session, store, process, wave, task)
        _tell(session, process, done, time.monotonic() - started, ranks)
    return replace(prepared, store=open_store(session, store.model), gradient=gradient)


def _forgotten(session: Session, store: ScoreStore, lost: Sequence[ScoreFile]) -> ScoreStore:
    """The store without shards whose lists can no longer be scored as they are."""
    with session.database.write() as connection:
        store = store.become(connection, store.without(lost))
    for file in lost:
        store.path(file).unlink(missing_ok=True)
    return store


@contextmanager
def _process(
    session: Session, prepared: Prepared, found: Cut, scorer: Scorer, ranks: Ranks
) -> Iterator[tuple[ScoringJob, ScoringProcess] | None]:
    """The job, announced to all, and what rank 0 works with; None if images of the cut have no file any more."""
    store, labels, seen = prepared.store, None, list[PoolImage]()
    if Group.GRADIENTS in prepared.groups and prepared.gradient is None:
        seen, labels = labeled_images(session, store.model)
    wanted = {image.key: image for image in (*found.images, *seen)}  # the shards' first: rows stay theirs
    with PoolImages.open(session, list(wanted.values()), scorer.loaded.meta.spec.seen) as images:
        there = {image.key for image in images.images}
        if any(image.key not in there for image in found.images):  # the shards are others, then
            yield None
            return
        job = make_job(prepared, found, images, labels)
        job.announce(ranks)
        with ranks.agreed():  # wait until all are prepared, or learn why one is not
            pass
        yield job, ScoringProcess(scorer, store.folder, images, session, prepared.gradient)


def _tell(session: Session, process: ScoringProcess, done: int, seconds: float, ranks: Ranks) -> None:
    for note in process.engine_notes:
        session.feedback.note(note)
    if done:
        processes = f" in {ranks.size} processes" if ranks.size > 1 else ""
        rate = f"{done / max(seconds, 1e-9):.0f} samples/s"
        session.feedback.note(f"scored {counted(done, 'sample')} in {seconds:.1f} s{processes}: {rate}")


@contextmanager
def _progress(session: Session, job: ScoringJob, process: ScoringProcess) -> Iterator[Task]:
    with session.feedback.task(f"scoring with {job.model.version}", sum(len(plan.rows) for plan in job.shards)) as task:
        process.task = task
        yield task


def _record(session: Session, store: ScoreStore, process: ScoringProcess, wave: Wave, task: Task) -> int:
    """Record the files of one wave that are complete, in order; how many images are in them.

    Behind one that is not complete the lists are no longer right: what is lost there is set aside.
    """
    done = 0
    failures = [(rank, failure) for rank, (_, outcome) in enumerate(wave) for failure in outcome.failures]
    made = next((rank for rank, (_, outcome) in enumerate(wave) if outcome.failures), len(wave))
    for rank, (plan, outcome) in enumerate(wave):
        for note in outcome.notes:
            session.feedback.note(f"{process.name(rank)}: {note}")
        process.engine_notes.update(dict.fromkeys(outcome.engine))
        if rank >= made:
            (store.folder / plan.file).unlink(missing_ok=True)
            continue
        if rank > 0:  # made by another process, perhaps on another machine
            _await(store.folder / plan.file, plan, process, rank)
            task.advance(len(plan.rows))
        contents = frozenset(str(group) for group in plan.groups)
        with session.database.write() as connection:
            store.record(connection, ScoreFile(plan.ordinal, plan.file, contents, len(plan.rows), outcome.seconds))
        done += len(plan.rows)
    for rank, failure in failures:
        if rank > 0:
            process.images.require_unreadable(failure, process.name(rank))
    process.images.lose([failure for _, failure in failures])
    return done


def _await(path: Path, plan: ShardPlan, process: ScoringProcess, rank: int) -> None:
    """Wait until the file that another process made is seen here, whole and with the right samples."""
    expected = digests([process.images.images[row].sample_id for row in plan.rows])
    deadline = time.monotonic() + VISIBLE_SECONDS
    while not _holds(path, expected):
        if time.monotonic() > deadline:
            raise DalcliError(
                f"{process.name(rank)} has written {plan.file}, but it does not arrive in {path.parent}",
                "the workspace must be one folder that all machines of a torchrun share",
            )
        time.sleep(0.5)


def _holds(path: Path, expected: np.ndarray) -> bool:
    """Whether the file at ``path`` is intact and its samples are ``expected``."""
    try:
        file = ShardFile(path)
        found = [block.digests for block in file.blocks(list(file.header.layout))]
    except DalcliError:
        return False
    return bool(np.array_equal(np.concatenate(found), expected))


def _result(session: Session, store: ScoreStore, gradient: LabeledGradient | None) -> ScoreResult:
    groups: Collection[Group] = set() if store.recorded is None else store.recorded.groups
    table = store.table([group for group in groups if all(group in shard.groups for shard in store.shards)])
    if gradient is None and Group.GRADIENTS in groups:
        gradient = labeled_gradient.stored(store)
    has_sketches = table is not None and "sketch" in table.layout
    kept = sketched(store.folder, store.recorded) if store.recorded is not None and has_sketches else None
    return ScoreResult(
        version=store.model.version,
        samples=sum(shard.samples for shard in store.shards),
        shards=len(store.shards),
        columns=() if table is None else tuple(sorted(table.layout.keys() - {"digest"})),
        labeled=None if gradient is None else gradient.samples,
        labeled_gradient_norm=None if gradient is None else gradient.norm,
        sketch=None if kept is None else kept.report,
        prescreen=recall(store),
    )
