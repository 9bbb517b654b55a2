"""Training on some of the labels, outside any model version: the head of a frozen network, or all of a model.

Both are called with rows of the labels, and say which evaluation examples the model trained on them gets right.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dalcli.config.hashing import derive_seed
from dalcli.data.pixels import Inputs, IntArray, PixelSource, UInt8Array
from dalcli.feedback import SilentFeedback
from dalcli.models.frozen_head import FrozenHead
from dalcli.models.predict import logit_blocks
from dalcli.runtime.device import set_threads
from dalcli.training import softmax
from dalcli.training.batches import TrainingData
from dalcli.training.loop import fit
from dalcli.workspace.loading import LoadedModel, build
from dalcli.workspace.session import Session

AT_ONCE = 128


class Heads:
    """Solves for heads; standardisation and ``penalty`` are those of the version whose ``head`` it is.

    Args:
        features: (n, d) of the labeled images, as the network gives them, with ``labels`` (n,).
        examples: (e, d) of the evaluation images, with ``truth`` (e,).
    """

    def __init__(
        self,
        head: FrozenHead,
        penalty: float,
        mode: Literal["balanced", "none"],
        features: Inputs,
        labels: IntArray,
        examples: Inputs,
        truth: IntArray,
    ) -> None:
        self._head, self._penalty, self._mode = head, penalty, mode
        self._classes = head.linear.out_features
        self._features, self._labels = self._standardised(features), torch.from_numpy(labels)
        self._examples, self._truth = self._standardised(examples).double(), truth

    def __call__(self, rows: IntArray) -> NDArray[np.bool_]:
        """Which examples a head trained on ``rows`` gets right."""
        features, truth = self._features[rows], self._labels[rows]
        weights = softmax.class_weights(truth, self._classes, self._mode)[truth]
        found = softmax.solve(features, truth, self._classes, self._penalty, weights=weights)
        predicted = (self._examples @ found.weights.T + found.bias).argmax(dim=1).numpy()
        right: NDArray[np.bool_] = predicted == self._truth
        return right

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
        truth: IntArray,
    ) -> None:
        self._session, self._loaded = session, loaded
        self._images, self._labels = images, labels
        self._examples, self._truth = examples, truth
        self._trained = 0

    def __call__(self, rows: IntArray) -> NDArray[np.bool_]:
        """Which examples a model trained on ``rows`` gets right."""
        from dalcli.models import pretrained

        session, meta, device = self._session, self._loaded.meta, self._loaded.device
        self._trained += 1
        name = f"control {self._trained}"
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
        logits = torch.cat(list(logit_blocks(model, self._examples, meta.pixel_stats, device, AT_ONCE)))
        right: NDArray[np.bool_] = logits.argmax(dim=1).numpy() == self._truth
        return right


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
