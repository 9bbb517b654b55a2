"""``train``: a new model version from the labels there are now.

The version's row is written first, its checkpoint at epoch ends, its files when it has converged, and last of all
the row is marked finished: whatever is killed in between is continued or done again, never half there.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from dalcli.commands.pixels import ReadableImages, open_decodable_images
from dalcli.commands.session import ModelChoice, Session, model_choice
from dalcli.config.fingerprint import fingerprint
from dalcli.errors import NotReadyError
from dalcli.models import pretrained, zoo
from dalcli.models.checkpoint import save_model
from dalcli.models.growth import grow
from dalcli.models.meta import ModelMeta, read_meta, write_meta
from dalcli.models.preprocess import PixelStats, measure
from dalcli.models.spec import ModelSpec, resolve_stem
from dalcli.models.tensorfile import read_tensors
from dalcli.state import catalog, classes, ledger, versions
from dalcli.state.catalog import PoolImage
from dalcli.state.lock import compute_lock
from dalcli.state.versions import ModelVersion
from dalcli.training.batches import TrainingData
from dalcli.training.device import resolve_device
from dalcli.training.loop import FitResult, fit

WEIGHTS_NAME = "model.safetensors"
META_NAME = "meta.json"
CHECKPOINT_NAME = "optimizer.safetensors"


@dataclass(frozen=True)
class TrainResult:
    """The newest version; the same whether it was trained now or before."""

    model: ModelVersion
    architecture: str


@dataclass(frozen=True)
class _Plan:
    """What is to be trained, fixed when ``train`` starts: labels that come in meanwhile wait for the next one."""

    names: tuple[str, ...]
    labels: dict[int, int]
    images: list[PoolImage]
    choice: ModelChoice
    spec: ModelSpec
    fingerprint: str
    newest: ModelVersion | None
    unfinished: ModelVersion | None
    newer: int


def run(session: Session, wait: float = 0.0) -> TrainResult:
    """Train to convergence, or say that the newest version is up to date.

    Raises:
        NotReadyError: there are no labels.
        LockedError: another ``train`` or ``score`` is running.
    """
    device = resolve_device(session.config.device)
    plan = _plan(session)
    if not plan.labels:
        raise NotReadyError(
            "there are no labels to train on",
            "hand images out with `dalcli query --budget N > to_label.csv`, then `dalcli ingest-labels FILE`",
        )
    if _up_to_date(session, plan):
        assert plan.newest is not None
        session.feedback.note(f"up to date: {plan.newest.version} was trained on all {plan.newest.labels} labels")
        return _result(plan.newest, plan.spec)
    zoo.check(plan.spec, session.workspace.root)
    pretrained.check(plan.spec, session.workspace.root)
    with compute_lock(session.workspace.lock_path, "train", wait):
        plan = _plan(session)  # another process may have trained while this one waited
        if _up_to_date(session, plan):
            assert plan.newest is not None
            return _result(plan.newest, plan.spec)
        return _train(session, plan, device)


def _plan(session: Session) -> _Plan:
    config = session.config
    with session.database.read() as connection:
        names = classes.names(connection)
        labels = ledger.labels(connection, "training")
        choice = model_choice(connection, config)
        newest = versions.newest(connection)
        spec = ModelSpec(
            name=choice.name,
            num_classes=len(names),
            image_size=choice.image_size,
            stem=resolve_stem(choice.image_size, config.model.stem),
            dropout=config.model.dropout,
            weights=config.model.weights,
        )
        settings = fingerprint(
            config.model,
            config.training,
            config.data.resize,
            config.data.alpha_background,
            choice.name,
            choice.image_size,
            config.seed,
        )
        return _Plan(
            names=names,
            labels=labels,
            images=[image for image in catalog.images(connection, "training") if image.key in labels],
            choice=choice,
            spec=spec,
            fingerprint=settings,
            newest=newest,
            unfinished=versions.unfinished(connection),
            newer=versions.newer_labels(connection, newest) if newest is not None else len(labels),
        )


def _up_to_date(session: Session, plan: _Plan) -> bool:
    newest = plan.newest
    if newest is None or plan.newer or newest.fingerprint != plan.fingerprint or newest.classes != len(plan.names):
        return False
    return (session.workspace.model_folder(newest.version) / WEIGHTS_NAME).is_file()


def _train(session: Session, plan: _Plan, device: torch.device) -> TrainResult:
    opened = open_decodable_images(session, plan.images, plan.choice.image_size)
    labels = {image.key: plan.labels[image.key] for image in opened.images}
    if not labels:
        raise NotReadyError("none of the labeled images can be read", "see `dalcli pool quarantine`")
    version = _begin(session, plan, labels, device)
    folder = session.workspace.model_folder(version.version)
    folder.mkdir(parents=True, exist_ok=True)
    model, stats = _start(session, plan, version, opened, folder)
    result = fit(
        model,
        TrainingData(opened.pixels, np.array([labels[image.key] for image in opened.images], dtype=np.int64)),
        session.config.training,
        stats=stats,
        seed=session.config.seed,
        version=version.version,
        device=device,
        threads=version.threads,
        checkpoint=folder / CHECKPOINT_NAME,
        feedback=session.feedback,
        fingerprint=fingerprint(version.fingerprint, version.labels_digest, version.parent),
    )
    _finish(session, plan, version, model, stats, result)
    if not result.converged:
        session.feedback.warn(
            f"{version.version} has not converged ({result.stopped} after {result.epochs} epochs, train accuracy "
            f"{result.train_accuracy:.1%}): raise training.max_epochs or lower training.learning_rate"
        )
    with session.database.read() as connection:
        finished = versions.newest(connection)
    assert finished is not None
    return _result(finished, plan.spec)


def _begin(session: Session, plan: _Plan, labels: dict[int, int], device: torch.device) -> ModelVersion:
    """Continue the version a killed ``train`` left, if it is the same work; else start one from the parent."""
    digest = ledger.digest(labels, plan.names)
    left = plan.unfinished
    if left is not None:
        if (left.labels_digest, left.fingerprint) == (digest, plan.fingerprint):
            session.feedback.note(f"continuing {left.version}, which was interrupted")
            return left
        session.feedback.note("labels or settings changed since training was interrupted: starting again")
    with session.database.write() as connection:
        if left is not None:
            versions.abandon(connection, left)
        begun = versions.begin(
            connection,
            parent=None if plan.newest is None else plan.newest.key,
            classes=len(plan.names),
            labels=labels,
            labels_digest=digest,
            fingerprint=plan.fingerprint,
            seed=session.config.seed,
            threads=session.config.threads or torch.get_num_threads(),
            device=str(device),
        )
    shutil.rmtree(session.workspace.model_folder(begun.version), ignore_errors=True)
    return begun


def _start(
    session: Session, plan: _Plan, version: ModelVersion, opened: ReadableImages, folder: Path
) -> tuple[nn.Module, PixelStats]:
    """The weights training starts from, and the normalisation, which stays what it was at first training."""
    root = session.workspace.root
    model = zoo.build(plan.spec, session.config.seed, root)
    meta = _parent_meta(session, version)
    if meta is not None and session.config.training.start == "warm":
        if meta.spec.with_classes(plan.spec.num_classes) == plan.spec:
            parent_weights, _ = read_tensors(session.workspace.model_folder(meta.version) / WEIGHTS_NAME)
            grown = grow(model, parent_weights, meta.spec.num_classes, plan.spec.num_classes)
            if grown:
                session.feedback.note(f"the model grew from {meta.spec.num_classes} to {plan.spec.num_classes} classes")
            return model, meta.pixel_stats
        session.feedback.note(
            f"the model settings differ from those of {meta.version}: training starts from fresh weights"
        )
    for note in pretrained.load(model, plan.spec, root, downloads=session.workspace.state / "downloads"):
        session.feedback.note(note)
    stats = pretrained.pixel_stats(plan.spec)
    if stats is None and meta is not None and meta.spec.weights is None:
        stats = meta.pixel_stats
    return model, stats or measure(opened.pixels, np.arange(len(opened.images), dtype=np.int64))


def _parent_meta(session: Session, version: ModelVersion) -> ModelMeta | None:
    if version.parent is None:
        return None
    return read_meta(session.workspace.model_folder(version.parent) / META_NAME)


def _finish(
    session: Session, plan: _Plan, version: ModelVersion, model: nn.Module, stats: PixelStats, result: FitResult
) -> None:
    """Files first, the row that makes them count after them, the checkpoint removed last."""
    folder = session.workspace.model_folder(version.version)
    save_model(folder / WEIGHTS_NAME, model)
    meta = ModelMeta(
        version=version.version,
        parent=version.parent,
        spec=plan.spec,
        classes=plan.names,
        pixel_stats=stats,
        seed=version.seed,
        threads=result.threads,
        device=version.device,
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
    )
    write_meta(folder / META_NAME, meta)
    with session.database.write() as connection:
        versions.finish(
            connection,
            version,
            epochs=result.epochs,
            converged=result.converged,
            stopped=result.stopped,
            train_accuracy=result.train_accuracy,
            train_loss=result.train_loss,
        )
    (folder / CHECKPOINT_NAME).unlink(missing_ok=True)


def _result(version: ModelVersion, spec: ModelSpec) -> TrainResult:
    height, width = spec.image_size
    return TrainResult(version, f"{spec.name} at {height}×{width}")
