"""Training on some of the labels, outside any model version: the head of a frozen network, or all of a model.

Both are asked for the logits of the evaluation examples, after training on some rows of the labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dalcli.config.hashing import derive_seed
from dalcli.data.pixels import Inputs, IntArray, PixelSource, UInt8Array
from dalcli.errors import NotReadyError
from dalcli.feedback import SilentFeedback
from dalcli.models.frozen_head import FrozenHead
from dalcli.models.predict import logit_blocks
from dalcli.runtime.device import set_threads
from dalcli.state.catalog import PoolImage
from dalcli.state.versions import ModelVersion
from dalcli.training import softmax
from dalcli.training.batches import TrainingData
from dalcli.training.loop import fit
from dalcli.workspace.images import FEATURES_AT_ONCE, PoolImages
from dalcli.workspace.loading import LoadedModel, build
from dalcli.workspace.session import Session

AT_ONCE = 128


@dataclass(frozen=True, eq=False)
class Learner:
    """Trains on rows of ``labeled`` (images with a label that could be read); ``truth`` (e,) of the examples."""

    trainer: Heads | WholeModels
    labeled: Sequence[PoolImage]
    truth: IntArray

    def __call__(self, rows: IntArray) -> NDArray[np.bool_]:
        """Which examples a model trained on ``rows`` gets right."""
        right: NDArray[np.bool_] = self.logits(rows).argmax(axis=1) == self.truth
        return right

    def logits(self, rows: IntArray, name: str | None = None) -> NDArray[np.floating[Any]]:
        """What a model trained on ``rows`` says of every example; ``name`` decides its first weights. (e, K)"""
        return self.trainer.logits(rows, name)


def learner(
    session: Session,
    model: ModelVersion,
    loaded: LoadedModel,
    images: tuple[PoolImages, Mapping[int, int]],
    evaluation: tuple[PoolImages, Mapping[int, int]],
) -> Learner:
    """What trains as ``model`` was trained; images come with their labels, by sample key.

    Raises:
        NotReadyError: none of the evaluation images can be read.
    """
    head = loaded.model if isinstance(loaded.model, FrozenHead) else None
    features, labeled, labels = _seen(session, *images, keep=head is not None)
    others, _, truth = _seen(session, *evaluation, keep=head is not None)
    if not len(truth):
        raise NotReadyError("none of the evaluation images can be read", "see `dalcli pool quarantine`")
    if head is not None:
        assert model.penalty is not None
        mode = session.config.training.class_weights
        return Learner(Heads(head, model.penalty, mode, features, labels, others), labeled, truth)
    sources = Rows(images[0].source, images[0].rows), Rows(evaluation[0].source, evaluation[0].rows)
    return Learner(WholeModels(session, loaded, sources[0], labels, sources[1]), labeled, truth)


def _seen(
    session: Session, images: PoolImages, labels: Mapping[int, int], keep: bool
) -> tuple[Inputs, list[PoolImage], IntArray]:
    """What is seen of the images that can be read (nothing, unless it is to be kept), the images, and their labels."""
    parts: list[Inputs] = []
    with session.feedback.task("looking at images", len(images)) as task:
        for block in images.blocks(FEATURES_AT_ONCE):
            if keep:
                parts.append(block.inputs)
            task.advance(len(block))
    inputs = np.concatenate(parts) if parts else np.empty((0, *images.source.shape), np.float32)
    found = [images.images[row] for row in images.rows]
    return inputs, found, np.array([labels[image.key] for image in found], np.int64)


class Heads:
    """Solves for heads; standardisation and ``penalty`` are those of the version whose ``head`` it is.

    Args:
        features: (n, d) of the labeled images, as the network gives them, with ``labels`` (n,).
        examples: (e, d) of the evaluation images.
    """

    def __init__(
        self,
        head: FrozenHead,
        penalty: float,
        mode: Literal["balanced", "none"],
        features: Inputs,
        labels: IntArray,
        examples: Inputs,
    ) -> None:
        self._head, self._penalty, self._mode = head, penalty, mode
        self._classes = head.linear.out_features
        self._features, self._labels = self._standardised(features), torch.from_numpy(labels)
        self._examples = self._standardised(examples).double()

    def logits(self, rows: IntArray, name: str | None = None) -> NDArray[np.float64]:
        """What a head trained on ``rows`` says of every example; its ``name`` has no part in it. (e, K)"""
        features, truth = self._features[rows], self._labels[rows]
        weights = softmax.class_weights(truth, self._classes, self._mode)[truth]
        found = softmax.solve(features, truth, self._classes, self._penalty, weights=weights)
        said: NDArray[np.float64] = (self._examples @ found.weights.T + found.bias).numpy()
        return said

    def _standardised(self, features: Inputs) -> Tensor:
        return (torch.from_numpy(features).float() - self._head.centre) * self._head.factor


class WholeModels:
    """Trains all of a model, each time from its first weights; pixels enter as they do in the version."""

    def __init__(
        self,
        session: Session,
        loaded: LoadedModel,
        images: PixelSource,
        labels: IntArray,
        examples: PixelSource,
    ) -> None:
        self._session, self._loaded = session, loaded
        self._images, self._labels = images, labels
        self._examples = examples
        self._trained = 0

    def logits(self, rows: IntArray, name: str | None = None) -> NDArray[np.float32]:
        """What a model trained on ``rows`` says of every example; ``name`` (or a count) decides its weights. (e, K)"""
        from dalcli.models import pretrained

        session, meta, device = self._session, self._loaded.meta, self._loaded.device
        self._trained += 1
        name = name or f"control {self._trained}"
        seed = derive_seed(session.config.seed, name)
        model = build(session.workspace, meta.spec, seed)
        if meta.spec.origin is None:
            root = session.workspace.root
            pretrained.load(model, meta.spec, root, downloads=session.workspace.state / "downloads")
        fit(
            model.to(device),
            TrainingData(Rows(self._images, rows), self._labels[rows]),
            session.config.training,
            stats=meta.pixel_stats,
            seed=seed,
            version=name,
            device=device,
            threads=set_threads(session.config.threads),
            checkpoint=None,
            feedback=SilentFeedback(),
            fingerprint=name,
        )
        blocks = logit_blocks(model, self._examples, meta.pixel_stats, device, AT_ONCE)
        said: NDArray[np.float32] = torch.cat(list(blocks)).numpy()
        return said


class Rows:
    """Some rows of a source, as a source of their own."""

    def __init__(self, source: PixelSource, rows: IntArray) -> None:
        self._source, self._rows = source, rows

    @property
    def shape(self) -> tuple[int, ...]:
        return self._source.shape

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, rows: IntArray) -> UInt8Array:
        """Those of the rows."""
        return self._source.read(self._rows[rows])
