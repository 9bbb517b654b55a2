"""Loss gradients of single samples and of sets under one version: what R and G(S) are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dalcli.data.identity import digests
from dalcli.diagnosis.images import Pictures
from dalcli.diagnosis.sets import Sets
from dalcli.errors import DalcliError
from dalcli.gradients.memory import even_pieces
from dalcli.gradients.sketch import SketchSpec
from dalcli.scoring.labeled_gradient import LabeledGradient
from dalcli.scoring.scorer import Batches, Scorer
from dalcli.state.catalog import PoolImage
from dalcli.workspace.session import Session

Values = NDArray[np.float64]
Gradient = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class SampleGradients:
    """‖g_u‖², ⟨g_u, G_S⟩ and pseudo-label of n samples, each (n,)."""

    sq_norm: Values
    inner: Values
    label: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> SampleGradients:
        return SampleGradients(self.sq_norm[rows], self.inner[rows], self.label[rows])


class Gradients:
    """Computes with one version on images that were read before."""

    def __init__(
        self, session: Session, scorer: Scorer, pictures: Pictures, sets: Sets, of_labeled: LabeledGradient | None
    ) -> None:
        self._session, self._scorer, self._pictures, self._sets = session, scorer, pictures, sets
        self._stored = of_labeled
        self._batch = scorer.micro_batch()

    @property
    def labeled(self) -> int:
        """How many samples G_S is summed over: those of S that could be read."""
        return self._stored.samples if self._stored is not None else len(self._pictures.readable(self._sets.labeled))

    @cached_property
    def of_labeled(self) -> Gradient:
        """G_S with the labels that the version saw: as `score` stored it, or computed here."""
        if self._stored is not None:
            return self._stored.to(self._scorer.loaded.device)
        images = self._pictures.readable(self._sets.labeled)
        with self._session.feedback.task("gradient of the labeled set", len(images)) as task:
            return self.summed(images, [self._sets.labels[image.key] for image in images], task.advance)

    def of_samples(self, images: Sequence[PoolImage]) -> SampleGradients:
        """What the score table says of ``images``; computed here where it says nothing."""
        known = self._from_table(images)
        if known is None:
            unknown = np.full(len(images), np.nan)
            known = SampleGradients(unknown, unknown.copy(), np.zeros(len(images), np.int64))
        missing = np.flatnonzero(np.isnan(known.sq_norm) | np.isnan(known.inner))
        if not len(missing):
            return known
        with self._session.feedback.task("gradients of single samples", len(missing)) as task:
            for piece in even_pieces(len(missing), self._batch):
                rows = missing[piece]
                pixels = self._pictures.read([images[row].key for row in rows])
                scores = self._scorer.score(pixels, self.of_labeled)
                assert scores.inner is not None
                known.sq_norm[rows] = scores.sq_norm.double().cpu().numpy()
                known.inner[rows] = scores.inner.double().cpu().numpy()
                known.label[rows] = scores.pseudo_label.cpu().numpy()
                task.advance(len(rows))
        return known

    def _from_table(self, images: Sequence[PoolImage]) -> SampleGradients | None:
        """NaN where a sample was not scored exactly; None if the table lacks one, or is damaged."""
        if self._sets.table is None:
            return None
        try:
            found = self._sets.table.lookup(
                digests([image.sample_id for image in images]), ["grad_sq_norm", "grad_inner", "probabilities"]
            )
        except DalcliError:
            return None
        return SampleGradients(found["grad_sq_norm"], found["grad_inner"], found["probabilities"].argmax(1))

    def summed(self, images: Sequence[PoolImage], labels: Sequence[int], advance: Callable[[int], None]) -> Gradient:
        """Σ ∇ℓ over ``images`` with ``labels``, in float64 by parameter name: one ordinary backward pass over them."""

        def batches(size: int) -> Batches:
            for piece in even_pieces(len(images), size):
                pixels = self._pictures.read([image.key for image in images[piece]])
                yield self._scorer.inputs(pixels), torch.tensor(labels[piece], device=self._scorer.loaded.device)
                advance(len(pixels))

        found = self._scorer.labeled_gradient(batches, self._batch)
        return {name: value.double() for name, value in found.items()}

    def sketches(self, images: Sequence[PoolImage], spec: SketchSpec, advance: Callable[[int], None]) -> Values:
        """Sketches (n, m) of the gradients for the pseudo-labels."""
        found = np.empty((len(images), spec.dimension))
        for piece in even_pieces(len(images), self._batch):
            inputs = self._scorer.inputs(self._pictures.read([image.key for image in images[piece]]))
            scores = self._scorer.engine.score(inputs, None, sketch=spec)
            assert scores.sketch is not None
            found[piece] = scores.sketch.double().cpu().numpy()
            advance(len(inputs))
        return found


def sq_norm(gradient: Mapping[str, Tensor]) -> float:
    """‖·‖² over all parameters, in float64."""
    return float(sum(float(value.double().square().sum()) for value in gradient.values()))
