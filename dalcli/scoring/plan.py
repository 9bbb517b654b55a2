"""What is to be scored: which files of the table are still good, what is missing, and the shards that will hold it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from dalcli.config.words import counted
from dalcli.data.identity import id_from_digest
from dalcli.scores.columns import Group
from dalcli.scores.settings import TableSettings, wanted_settings
from dalcli.scores.store import ScoreStore, StoredShard
from dalcli.scoring import labeled_gradient
from dalcli.scoring.job import LabeledSet, ScoringJob, ShardPlan
from dalcli.scoring.labeled_gradient import LabeledGradient
from dalcli.scoring.scorer import Scorer
from dalcli.scoring.settling import decided, dropout_spec, kept_names
from dalcli.state import catalog, versions
from dalcli.state.catalog import PoolImage
from dalcli.state.scores import ScoreFile
from dalcli.state.versions import ModelVersion
from dalcli.workspace.images import PoolImages
from dalcli.workspace.session import Session, strategy_columns


@dataclass(frozen=True)
class Prepared:
    """A table that can be gone on with: what is kept of earlier runs, and what is to be made with which settings."""

    store: ScoreStore
    groups: frozenset[Group]
    settings: TableSettings
    micro_batch: int
    gradient: LabeledGradient | None


@dataclass(frozen=True)
class Cut:
    """The missing columns as a list of shards: ``images`` in rows, and which of them each shard means."""

    images: tuple[PoolImage, ...]
    shards: tuple[ShardPlan, ...]
    lost: tuple[ScoreFile, ...] = ()


def wanted_groups(store: ScoreStore, full: bool, columns: Collection[str] | None) -> frozenset[Group]:
    """What is to be there: everything, or what ``columns`` need (None: those that the configured strategy reads)."""
    if full:
        every = frozenset(Group)
        return every if store.config.scoring.mc_samples else every - {Group.DROPOUT}
    if columns is None:
        columns = strategy_columns(store.config)
    return store.groups_for(columns)


@dataclass(frozen=True)
class Survey:
    """What a run finds: the ``store`` as it can be gone on with, G_S if it is kept, and what was ``damaged``.

    ``ungrounded``: there were gradients, but what all of them were made with is gone.
    """

    store: ScoreStore
    gradient: LabeledGradient | None
    damaged: tuple[ScoreFile, ...]
    ungrounded: bool = False


def survey(store: ScoreStore, settings: TableSettings) -> Survey:
    """Look at everything, for going on with ``settings``; changes nothing.

    All gradients of a table were made with one G_S and one prescreen: without these, none of them can be gone on with.
    """
    damaged = tuple(store.damaged())
    whole = store.serving(settings).without(damaged)
    if store.recorded is None or store.recorded.gradients is None:
        return Survey(whole, None, damaged)
    gradient = labeled_gradient.stored(store)
    if gradient is not None and decided(store.folder, store.recorded):
        return Survey(whole, gradient, damaged)
    there = any(Group.GRADIENTS in shard.groups for shard in whole.shards)
    return Survey(whole.without_group(Group.GRADIENTS), gradient, damaged, there)


def prepare(session: Session, store: ScoreStore, groups: frozenset[Group], scorer: Scorer) -> Prepared:
    """Forget and delete what cannot be gone on with, and record what the rest is made with."""
    store.folder.mkdir(parents=True, exist_ok=True)
    settings = store.settings(groups)
    _require_dropout(store, settings, scorer)
    _say_what_is_made_again(session, store, groups)
    found = survey(store, settings)
    micro_batch = store.micro_batch or scorer.micro_batch()  # what an earlier run recorded counts
    with session.database.write() as connection:
        store = store.become(connection, found.store).begin(connection, settings, micro_batch)
    if lost := [file for file in found.damaged if file.contents & groups]:
        session.feedback.warn(_lost(lost))
    if found.ungrounded and Group.GRADIENTS in groups:
        samples = counted(sum(shard.samples for shard in store.shards), "sample")
        session.feedback.warn(
            f"what gradients were made with is missing or damaged: computing those of {samples} again"
        )
    kept = {store.labeled_gradient_path.name, *(file.file for file in store.files)}
    if found.gradient is not None:  # what is settled, is settled with one G_S
        kept |= kept_names(settings)
    for path in store.folder.iterdir():
        if path.name not in kept:
            path.unlink()
    store.trim()
    return Prepared(store, groups, settings, micro_batch, found.gradient)


def _require_dropout(store: ScoreStore, settings: TableSettings, scorer: Scorer) -> None:
    """Before anything is thrown away: a model without dropout has no such columns."""
    masks = dropout_spec(settings)
    if masks is not None and (store.recorded is None or store.recorded.dropout != settings.dropout):
        scorer.sampler(masks)


def _say_what_is_made_again(session: Session, store: ScoreStore, groups: Collection[Group]) -> None:
    if store.recorded is not None:
        wanted = wanted_settings(session.config, store.model, groups)
        for group, reason in store.recorded.shortcomings(wanted).items():
            columns = "dropout samples" if group == Group.DROPOUT else group
            session.feedback.note(f"{reason}: computing {columns} of all samples again")


def _lost(lost: Sequence[ScoreFile]) -> str:
    samples = counted(sum({file.ordinal: file.samples for file in lost}.values()), "sample")
    if len(lost) == 1:
        return f"{lost[0].file} is missing or damaged: scoring its {samples} again"
    return f"{len(lost)} score files are missing or damaged: scoring their {samples} again"


def cut(session: Session, prepared: Prepared) -> Cut:
    """What is missing: columns that shards lack, in the same shards; then the samples that no shard has.

    A killed run's repetition cuts the remaining samples into exactly the same shards, on however many processes.
    """
    store, size = prepared.store, session.config.scoring.shard_size
    with session.database.read() as connection:
        if store.shards and store.complete(connection, prepared.groups):
            return Cut((), ())
        pool = {image.sample_id: image for image in catalog.images(connection, "training")}
    images: list[PoolImage] = []
    plans: list[ShardPlan] = []
    lost: list[ScoreFile] = []
    listed: set[str] = set()
    for shard in store.shards:
        ids = _ids(store, shard)
        listed.update(ids)
        absent = prepared.groups - shard.groups
        if absent and any(name not in pool for name in ids):  # its list can no longer be scored as it is
            lost += shard.files
            listed.difference_update(ids)
        elif absent:
            rows = range(len(images), len(images) + len(ids))
            images += [pool[name] for name in ids]
            plans.append(ShardPlan(ordinal=shard.ordinal, rows=tuple(rows), groups=tuple(sorted(absent))))
    ordinal = store.shards[-1].ordinal + 1 if store.shards else 0
    fresh = [image for name, image in pool.items() if name not in listed]
    for start in range(0, len(fresh), size):
        some = fresh[start : start + size]
        rows = range(len(images), len(images) + len(some))
        images += some
        groups = tuple(sorted(prepared.groups))
        plans.append(ShardPlan(ordinal=ordinal, rows=tuple(rows), groups=groups))
        ordinal += 1
    return Cut(tuple(images), tuple(plans), tuple(lost))


def _ids(store: ScoreStore, shard: StoredShard) -> list[str]:
    content = store.shard(shard, shard.groups).digests()
    return [id_from_digest(bytes(digest)) for digest in np.ascontiguousarray(content)]


def labeled_images(session: Session, model: ModelVersion) -> tuple[list[PoolImage], dict[int, int]]:
    """What ``model`` was trained on, but for unreadable images, and the labels that it saw by sample key."""
    with session.database.read() as connection:
        labels = versions.seen_labels(connection, model)
        return [image for image in catalog.images(connection, "training") if image.key in labels], labels


def make_job(prepared: Prepared, found: Cut, images: PoolImages, labels: dict[int, int] | None) -> ScoringJob:
    """The value that all processes work by; ``labels`` by sample key, where G_S is to be summed."""
    labeled = None
    if labels is not None:
        rows = [row for row, image in enumerate(images.images) if image.key in labels]
        labeled = LabeledSet(rows=tuple(rows), labels=tuple(labels[images.images[row].key] for row in rows))
    return ScoringJob(
        config=prepared.store.config,
        model=prepared.store.model,
        settings=prepared.settings,
        micro_batch=prepared.micro_batch,
        images=images.listed,
        cached=images.caching,
        shards=found.shards,
        labeled=labeled,
        gradients=Group.GRADIENTS in prepared.groups,
    )
