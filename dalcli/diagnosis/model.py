"""The version that is diagnosed, on the images that were decoded for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dalcli.diagnosis.images import DecodedImages
from dalcli.feedback import Feedback
from dalcli.gradients.memory import even_pieces
from dalcli.gradients.passes import evaluating, logits_of
from dalcli.models.frozen_head import FrozenHead
from dalcli.scores.columns import Floats
from dalcli.scoring.scorer import Scorer
from dalcli.state.catalog import PoolImage
from dalcli.theory.ntk import Network, Samples


@dataclass(frozen=True)
class DiagnosedModel:
    """What every quantity is computed with: a version's scorer, its images, and who hears of progress."""

    scorer: Scorer
    decoded: DecodedImages
    feedback: Feedback

    @property
    def linear(self) -> bool:
        """Whether it is linear in all that is trained: the head of a frozen network."""
        return isinstance(self.scorer.loaded.model, FrozenHead)

    def inputs(self, images: Sequence[PoolImage]) -> Tensor:
        """What the model sees of ``images``, on its device."""
        return self.scorer.inputs(self.decoded.inputs(images))

    def logits(self, images: Sequence[PoolImage]) -> Floats:
        """f(X), (n, K)."""
        model, most = self.scorer.loaded.model, self.scorer.micro_batch()
        with evaluating(model), torch.no_grad():
            parts = [
                logits_of(model(self.inputs(images[piece]))).double().cpu().numpy()
                for piece in even_pieces(len(images), most)
            ]
        return np.concatenate(parts)

    def network(self) -> Network:
        """The model as the tangent kernel wants it."""
        loaded = self.scorer.loaded
        return Network(loaded.model, loaded.meta.spec.num_classes, self.scorer.memory_limit)

    def samples(self, images: Sequence[PoolImage]) -> Samples:
        """``images`` as the tangent kernel wants them."""
        return Samples(len(images), lambda piece: self.inputs(images[piece]))
