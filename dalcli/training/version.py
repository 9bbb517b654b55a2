"""Training one model version so that it can be killed at any moment.

The version's row is written first, its checkpoint at epoch ends, its files when it has converged, and last of all
the row is marked finished: whatever is killed in between is continued or done again, never half there.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from dalcli.config.hashing import fingerprint
from dalcli.data.network import to_json
from dalcli.data.pixels import UnreadableImagesError
from dalcli.models.checkpoint import load_model, save_model
from dalcli.models.frozen_head import FrozenHead, put_head
from dalcli.models.growth import grow
from dalcli.models.meta import ModelMeta, read_meta, write_meta
from dalcli.models.preprocess import PixelStats, measure
from dalcli.models.spec import ModelSpec
from dalcli.models.tensorfile import read_tensors
from dalcli.runtime.device import reproducible
from dalcli.runtime.ranks import Ranks
from dalcli.state import catalog, versions
from dalcli.state.versions import ModelVersion
from dalcli.state.workspace import WEIGHTS_NAME
from dalcli.training.head import train_head
from dalcli.training.job import TrainingJob, TrainingProcess, train
from dalcli.training.loop import DivergedError, FitResult
from dalcli.training.plan import TrainPlan, labeled
from dalcli.training.resume import saved_place
from dalcli.workspace.images import PoolImages
from dalcli.workspace.loading import build
from dalcli.workspace.session import Session
from dalcli.workspace.versions import CHECKPOINT_NAME, META_NAME, remove_leftovers

VERIFY_ROWS = 64


class LabeledSetChanged(Exception):
    """The plan cannot be carried out any more: images were set aside, or serve evaluation now. Make another one."""


def check(session: Session, plan: TrainPlan, ranks: Ranks) -> torch.device:
    """Find what is wrong with the settings before anything is waited for; the device to train on, here.

    Raises:
        BadInputError: naming the key of the configuration.
    """
    if plan.spec.frozen is None and plan.spec.origin is None:  # else it was adopted: it is there, and it fits
        from dalcli.models import pretrained, zoo  # they take torchvision with them, which a head can do without

        zoo.check(plan.spec, session.workspace.root)
        pretrained.check(plan.spec, session.workspace.root)
    return ranks.device(session.config.device)


def train_version(session: Session, plan: TrainPlan, device: torch.device, ranks: Ranks) -> ModelVersion:
    """Train the version that ``plan`` asks for, or finish the one a killed ``train`` left; holds the compute lock.

    On rank 0 alone; the others ``serve`` it (``training.job``).

    Raises:
        LabeledSetChanged: nothing was trained.
    """
    with _labeled_images(session, plan) as images, _losses_change_the_set(images):
        version = _begin(session, plan, device)
        folder = session.workspace.model_folder(version.version)
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
        if plan.spec.frozen is not None:
            return _head_version(session, plan, version, images, ranks)
        model, stats = _start(session, plan, version, images)
        checkpoint = folder / CHECKPOINT_NAME
        job = TrainingJob(
            config=session.config,
            spec=plan.spec,
            stats=stats,
            version=version.version,
            threads=_threads(session, version, checkpoint, ranks),
            fingerprint=fingerprint(version.fingerprint, version.labels_digest, version.parent),
            images=images.listed,
            truth=tuple(plan.labels[image.key] for image in images.images),
        )
        job.announce(ranks)
        with ranks.agreed():  # wait until all are prepared, or learn why one is not
            pass
        try:
            result = train(job, ranks, TrainingProcess(images, model, device, checkpoint, session.feedback))
        except DivergedError:
            with session.database.write() as connection:
                versions.mark_diverged(connection, version)
            raise
    finished = _finish(session, version, model, _meta(plan, version, stats, device, result, ranks))
    if not result.converged:
        session.feedback.warn(
            f"{version.version} has not converged ({result.stopped} after {result.epochs} epochs, train accuracy "
            f"{result.train_accuracy:.1%}): raise training.max_epochs or lower training.learning_rate"
        )
    return finished


def _head_version(
    session: Session, plan: TrainPlan, version: ModelVersion, images: PoolImages, ranks: Ranks
) -> ModelVersion:
    """On the processor of rank 0 alone: it takes seconds."""
    assert plan.spec.frozen is not None
    cpu, recipe = torch.device("cpu"), plan.spec.frozen.recipe
    parent = _parent_meta(session, version)
    if parent is not None and parent.spec.origin == plan.spec.frozen:
        session.feedback.note(
            f"the head is trained on the frozen network as it was before: what {parent.version} learned stays with it"
        )
    with reproducible(cpu, version.threads):
        found = train_head(session, plan.spec, images, plan.labels)
    result = FitResult(
        epochs=found.iterations,
        converged=found.converged,
        stopped="converged" if found.converged else "max_iterations",
        train_accuracy=found.accuracy,
        train_loss=found.loss,
        history=(),
        threads=version.threads,
        resumed_from_epoch=0,
    )
    meta = _meta(plan, version, PixelStats(recipe.mean, recipe.std), cpu, result, ranks)
    return _finish(session, version, found.head, dataclasses.replace(meta, head=found.found))


@contextmanager
def _losses_change_the_set(images: PoolImages) -> Iterator[None]:
    """What turns out to be unreadable meanwhile is set aside, and the plan was for others."""
    try:
        yield
    except UnreadableImagesError as error:
        images.lose(error.failures)
        raise LabeledSetChanged from None


def _labeled_images(session: Session, plan: TrainPlan) -> PoolImages:
    """The labeled images, every one of which can be decoded: they are read again and again."""
    with session.database.read() as connection:
        images = [image for image in catalog.images(connection, "training") if image.key in plan.labels]
    opened = PoolImages.open(session, images, plan.spec.seen, keep=True)
    with opened, session.feedback.task("reading images", len(opened)) as task:
        for block in opened.blocks(VERIFY_ROWS):
            task.advance(len(block))
    if len(opened.rows) < len(plan.labels):
        raise LabeledSetChanged
    return opened


def _begin(session: Session, plan: TrainPlan, device: torch.device) -> ModelVersion:
    """Continue the version a killed ``train`` left, if it is the same work; else start one from the parent."""
    parent = None if plan.parent is None else plan.parent.version
    left = plan.unfinished
    if left is not None:
        if (left.labels_digest, left.fingerprint, left.parent) == (plan.digest, plan.fingerprint, parent):
            session.feedback.note(f"continuing {left.version}, which {_end(left)}")
            with session.database.write() as connection:
                versions.begin_again(connection, left)
            return left
        session.feedback.note(f"labels or settings changed since training {_end(left)}: starting again")
    if plan.newest is not None and plan.newest != plan.parent:
        session.feedback.warn(f"the files of {plan.newest.version} are missing: starting from {parent or 'none'}")
    with session.database.write() as connection:
        if not plan.labels.keys() <= labeled(connection, session.config).keys():
            raise LabeledSetChanged  # from here on it stays: what a model has seen never moves to the test set
        if left is not None:
            versions.abandon(connection, left)
        begun = versions.begin(
            connection,
            parent=None if plan.parent is None else plan.parent.key,
            classes=len(plan.names),
            labels=plan.labels,
            labels_digest=plan.digest,
            fingerprint=plan.fingerprint,
            seed=session.config.seed,
            threads=session.config.threads or torch.get_num_threads(),
            device=str(device),
            network=None if plan.spec.frozen is None else to_json(plan.spec.frozen),
        )
    shutil.rmtree(session.workspace.model_folder(begun.version), ignore_errors=True)
    if plan.newest is not None:  # left by a process that was killed just before it would have removed it
        (session.workspace.model_folder(plan.newest.version) / CHECKPOINT_NAME).unlink(missing_ok=True)
    return begun


def _end(left: ModelVersion) -> str:
    return "diverged" if left.diverged else "was interrupted"


def _threads(session: Session, version: ModelVersion, checkpoint: Path, ranks: Ranks) -> int:
    """As many as the version was begun with: the weights depend on it, in their last digits.

    Where the number of processes has changed since, they do so anyway; then as many as suit a process now.
    """
    place = saved_place(checkpoint)
    if place is None:
        return version.threads
    return place.threads if place.ranks == ranks.size else session.config.threads or torch.get_num_threads()


def _start(
    session: Session, plan: TrainPlan, version: ModelVersion, images: PoolImages
) -> tuple[nn.Module, PixelStats]:
    """The weights training starts from, and the normalisation, which stays what it was at first training."""
    model = build(session.workspace, plan.spec, session.config.seed)
    parent = _parent_meta(session, version)
    if parent is not None and session.config.training.start == "warm":
        if _same_weights(parent.spec, plan.spec):
            _warm_start(session, parent, model, plan.spec)
            return model, parent.pixel_stats
        if parent.spec.frozen is None or parent.spec.frozen != plan.spec.origin:
            session.feedback.note(
                f"the model settings differ from those of {parent.version}: training starts from fresh weights"
            )
    if plan.spec.origin is not None:
        return model, _thawed(session, model, plan.spec, parent)
    from dalcli.models import pretrained

    root = session.workspace.root
    for note in pretrained.load(model, plan.spec, root, downloads=session.workspace.state / "downloads"):
        session.feedback.note(note)
    stats = pretrained.pixel_stats(plan.spec)
    if stats is None and parent is not None and parent.spec.weights is None:
        stats = parent.pixel_stats
    return model, stats or measure(images.source, images.rows)


def _thawed(session: Session, model: nn.Module, spec: ModelSpec, parent: ModelMeta | None) -> PixelStats:
    """Put the head of ``parent`` into a whole network whose other weights are the frozen one's; how pixels enter it."""
    assert spec.origin is not None
    recipe, start = spec.origin.recipe, f"the frozen network {spec.origin.name}"
    if parent is not None and parent.spec.frozen == spec.origin:
        head = FrozenHead(spec.origin.dimension, parent.spec.num_classes)
        load_model(session.workspace.model_folder(parent.version) / WEIGHTS_NAME, head)
        if put_head(model, head, spec.num_classes):
            start = f"{start} and the head of {parent.version}"
    session.feedback.note(f"training all of the model starts from {start}")
    return PixelStats(recipe.mean, recipe.std)


def _same_weights(parent: ModelSpec, spec: ModelSpec) -> bool:
    """Whether the parent's weights mean the same in ``spec``, but for new classes; dropout has no weights."""
    return dataclasses.replace(parent, num_classes=spec.num_classes, dropout=spec.dropout) == spec


def _warm_start(session: Session, parent: ModelMeta, model: nn.Module, spec: ModelSpec) -> None:
    weights, _ = read_tensors(session.workspace.model_folder(parent.version) / WEIGHTS_NAME)
    if grow(model, weights, parent.spec.num_classes, spec.num_classes):
        session.feedback.note(f"the model grew from {parent.spec.num_classes} to {spec.num_classes} classes")


def _parent_meta(session: Session, version: ModelVersion) -> ModelMeta | None:
    if version.parent is None:
        return None
    return read_meta(session.workspace.model_folder(version.parent) / META_NAME)


def _meta(
    plan: TrainPlan, version: ModelVersion, stats: PixelStats, device: torch.device, result: FitResult, ranks: Ranks
) -> ModelMeta:
    return ModelMeta(
        version=version.version,
        parent=version.parent,
        spec=plan.spec,
        classes=plan.names,
        pixel_stats=stats,
        seed=version.seed,
        threads=result.threads,
        device=str(device),
        config_fingerprint=version.fingerprint,
        torch_version=torch.__version__,
        labels_digest=version.labels_digest,
        labels=version.labels,
        epochs=result.epochs,
        converged=result.converged,
        stopped=result.stopped,
        train_accuracy=result.train_accuracy,
        train_loss=result.train_loss,
        history=result.history,
        ranks=ranks.size,
    )


def _finish(session: Session, version: ModelVersion, model: nn.Module, meta: ModelMeta) -> ModelVersion:
    """Files first, the row that makes them count after them, the checkpoint removed last."""
    folder = session.workspace.model_folder(version.version)
    save_model(folder / WEIGHTS_NAME, model)
    write_meta(folder / META_NAME, meta)
    with session.database.write() as connection:
        versions.finish(
            connection,
            version,
            epochs=meta.epochs,
            converged=meta.converged,
            stopped=meta.stopped,
            train_accuracy=meta.train_accuracy,
            train_loss=meta.train_loss,
            penalty=None if meta.head is None else meta.head.penalty,
        )
        finished = versions.newest(connection)
    (folder / CHECKPOINT_NAME).unlink(missing_ok=True)
    assert finished is not None
    return finished
