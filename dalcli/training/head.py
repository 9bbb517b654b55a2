"""Training the head of a frozen network: softmax regression on cached features.

Its loss is convex and has one minimum: nothing to continue, nothing to wait for. Labels, features and penalty decide; a
killed run has done nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dalcli.config.hashing import derive_seed
from dalcli.data.identity import digests, tie_keys
from dalcli.data.pixels import Inputs, IntArray
from dalcli.models.frozen_head import FrozenHead
from dalcli.models.meta import HeadMeta, ModelMeta
from dalcli.models.spec import ModelSpec
from dalcli.models.tensorfile import read_tensors
from dalcli.state import catalog
from dalcli.training import softmax
from dalcli.training.softmax import Standardisation
from dalcli.workspace.images import PoolImages
from dalcli.workspace.session import Session
from dalcli.workspace.versions import WEIGHTS_NAME

AT_ONCE = 256
SAMPLE = 2048  # images of the pool that say where features lie


@dataclass(frozen=True)
class TrainedHead:
    """The answer, and how it was found; ``accuracy`` and ``loss`` on the labeled images."""

    head: FrozenHead
    found: HeadMeta
    iterations: int
    converged: bool
    accuracy: float
    loss: float


def train_head(
    session: Session, spec: ModelSpec, parent: ModelMeta | None, images: PoolImages, labels: Mapping[int, int]
) -> TrainedHead:
    """Solve for the head on ``images``, all of which are labeled: ``labels`` by sample key.

    Features are standardised as they were for the ``parent``, if it stands on the same network; else as a sample of the
    pool says.

    Raises:
        UnreadableImagesError: some of the images.
    """
    assert spec.frozen is not None
    settings = session.config.training
    standardisation = _standardisation(session, spec, parent)
    rows = np.arange(len(images), dtype=np.int64)
    features = standardisation(_features(images, rows))
    truth = np.array([labels[image.key] for image in images.images], dtype=np.int64)
    weights = softmax.class_weights(truth, spec.num_classes, settings.class_weights)
    if settings.penalty == "auto":
        ids = digests([image.sample_id for image in images.images])
        keys = tie_keys(derive_seed(session.config.seed, "penalty"), ids)
        choice = softmax.choose_penalty(features, truth, spec.num_classes, keys=keys, class_weights=weights)
        penalty, reason, table = choice.penalty, choice.reason, choice.table
    else:
        penalty, reason, table = float(settings.penalty), "training.penalty", ()
    solution = softmax.solve(features, truth, spec.num_classes, penalty, class_weights=weights)
    head = FrozenHead(spec.frozen.dimension, spec.num_classes)
    head.standardise(standardisation.centre, standardisation.factor)
    head.answer(solution.weights, solution.bias)
    logits = features @ solution.weights.T + solution.bias
    found = HeadMeta(penalty, reason, tuple(map(tuple, table)), solution.gradient_norm)
    return TrainedHead(
        head=head,
        found=found,
        iterations=solution.iterations,
        converged=solution.converged,
        accuracy=float((logits.argmax(axis=1) == truth).mean()),
        loss=solution.cross_entropy,
    )


def _features(images: PoolImages, rows: IntArray) -> Inputs:
    return np.concatenate([block.inputs for block in images.blocks(AT_ONCE, rows, complete=True)])


def _standardisation(session: Session, spec: ModelSpec, parent: ModelMeta | None) -> Standardisation:
    """Fixed at first use: a head's weights mean something only with it."""
    assert spec.frozen is not None
    if parent is not None and parent.spec.frozen == spec.frozen:
        tensors, _ = read_tensors(session.workspace.model_folder(parent.version) / WEIGHTS_NAME)
        return Standardisation(tensors["centre"].numpy(), float(tensors["factor"]))
    with session.database.read() as connection:
        pool = catalog.images(connection, "training")
    keys = tie_keys(derive_seed(session.config.seed, "standardisation"), digests([i.sample_id for i in pool]))
    sample = [pool[row] for row in np.sort(np.argsort(keys, kind="stable")[:SAMPLE])]
    with (
        PoolImages.open(session, sample, spec.seen) as opened,
        session.feedback.task("looking at images", len(opened)) as task,
    ):
        blocks = []
        for block in opened.blocks(AT_ONCE):
            blocks.append(block.inputs)
            task.advance(len(block))
    return Standardisation.of(np.concatenate(blocks))
