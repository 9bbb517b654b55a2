"""Training the head of a frozen network: softmax regression on cached features.

Its loss is convex and has one minimum: nothing to continue, nothing to wait for. Labels, features and penalty decide; a
killed run has done nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dalcli.config.hashing import derive_seed
from dalcli.data.identity import digests, tie_keys
from dalcli.data.network import to_json
from dalcli.data.pixels import Inputs
from dalcli.models.frozen_head import FrozenHead
from dalcli.models.meta import HeadMeta
from dalcli.models.spec import ModelSpec
from dalcli.models.tensorfile import read_tensors
from dalcli.state import catalog, versions
from dalcli.state.catalog import PoolImage
from dalcli.state.workspace import WEIGHTS_NAME
from dalcli.training import softmax
from dalcli.training.penalty import FOLDS, PenaltyChoice, choose_penalty, folds
from dalcli.training.standardisation import Standardisation
from dalcli.workspace.images import PoolImages
from dalcli.workspace.session import Session
from dalcli.workspace.versions import are_there

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


def train_head(session: Session, spec: ModelSpec, images: PoolImages, labels: Mapping[int, int]) -> TrainedHead:
    """Solve for the head on ``images``, all of which are labeled: ``labels`` by sample key.

    Features are standardised as they were for the last head on the same network, if there is one; else as a sample of
    the pool says.

    Raises:
        UnreadableImagesError: some of the images.
    """
    assert spec.frozen is not None
    standardisation = _standardisation(session, spec)
    features = standardisation(torch.from_numpy(_features(images)).float())
    truth = torch.tensor([labels[image.key] for image in images.images])
    weights = softmax.class_weights(truth, spec.num_classes, session.config.training.class_weights)[truth]
    choice = _penalty(session, images.images, features, truth, spec.num_classes, weights)
    solution = softmax.solve(features, truth, spec.num_classes, choice.penalty, weights=weights)
    head = FrozenHead(spec.frozen.dimension, spec.num_classes)
    head.standardise(standardisation.centre, standardisation.factor)
    head.answer(solution.weights, solution.bias)
    logits = features.double() @ solution.weights.T + solution.bias
    tried = tuple((each.penalty, each.log_loss, each.standard_error) for each in choice.tried)
    return TrainedHead(
        head=head,
        found=HeadMeta(choice.penalty, choice.reason, tried, solution.gradient_norm),
        iterations=solution.iterations,
        converged=solution.converged,
        accuracy=float((logits.argmax(dim=1) == truth).double().mean()),
        loss=float(torch.nn.functional.cross_entropy(logits, truth)),
    )


def held_out(
    session: Session, spec: ModelSpec, images: PoolImages, labels: Mapping[int, int], penalty: float | None
) -> tuple[list[int], NDArray[np.float64]]:
    """What heads say of labels that they have not seen: keys and probabilities (n, K) of the images that can be read.

    Five folds, stratified by class, that depend on the seed and the samples; each is judged by a head solved on the
    other four. ``penalty`` None: as configured, or what all the labels say.
    """
    rows, features = [], []
    for block in images.blocks(AT_ONCE):
        rows += block.rows.tolist()
        features.append(block.inputs)
    if not rows:
        return [], np.empty((0, spec.num_classes))
    read = [images.images[row] for row in rows]
    inputs = _standardisation(session, spec)(torch.from_numpy(np.concatenate(features)).float())
    truth = torch.tensor([labels[image.key] for image in read])
    weights = softmax.class_weights(truth, spec.num_classes, session.config.training.class_weights)[truth]
    strength = penalty or _penalty(session, read, inputs, truth, spec.num_classes, weights).penalty
    keys = tie_keys(derive_seed(session.config.seed, "held out"), digests([image.sample_id for image in read]))
    fold = folds(truth, keys)
    found = torch.empty(len(rows), spec.num_classes, dtype=torch.float64)
    for number in range(FOLDS):
        inside, outside = fold != number, fold == number
        if inside.any() and outside.any():
            solved = softmax.solve(inputs[inside], truth[inside], spec.num_classes, strength, weights=weights[inside])
            found[outside] = torch.softmax(inputs[outside].double() @ solved.weights.T + solved.bias, dim=1)
    return [image.key for image in read], found.numpy()


def _penalty(
    session: Session, images: Sequence[PoolImage], features: Tensor, truth: Tensor, num_classes: int, weights: Tensor
) -> PenaltyChoice:
    """As configured, or what the labels say."""
    configured = session.config.training.penalty
    if configured != "auto":
        return PenaltyChoice(configured, (), "training.penalty")
    ids = digests([image.sample_id for image in images])
    keys = tie_keys(derive_seed(session.config.seed, "penalty"), ids)
    return choose_penalty(features, truth, num_classes, keys, weights=weights)


def _features(images: PoolImages) -> Inputs:
    return np.concatenate([block.inputs for block in images.blocks(AT_ONCE, complete=True)])


def _standardisation(session: Session, spec: ModelSpec) -> Standardisation:
    """Fixed at first use: a head's weights mean something only with it."""
    assert spec.frozen is not None
    with session.database.read() as connection:
        earlier = [version for version in versions.history(connection) if version.network == to_json(spec.frozen)]
        pool = catalog.images(connection, "training")
    for version in reversed(earlier):
        folder = session.workspace.model_folder(version.version)
        if are_there(folder):
            tensors, _ = read_tensors(folder / WEIGHTS_NAME)
            return Standardisation(tensors["centre"], float(tensors["factor"]))
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
    return Standardisation.of(torch.from_numpy(np.concatenate(blocks)).float())
