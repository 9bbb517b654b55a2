"""Loss gradients of single samples and of sets under one version: what R and G(S) are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from dalcli.data.identity import digests
from dalcli.data.pixels import IntArray
from dalcli.diagnosis.model import DiagnosedModel
from dalcli.diagnosis.sets import Sets
from dalcli.errors import DalcliError
from dalcli.feedback import Task
from dalcli.gradients.memory import even_pieces
from dalcli.gradients.sketch import SketchSpec
from dalcli.scores.columns import Floats, Group
from dalcli.scoring.labeled_gradient import LabeledGradient
from dalcli.state.catalog import PoolImage

Gradient = dict[str, Tensor]
"""By parameter name, on the model's device."""


@dataclass(frozen=True, eq=False)
class SampleGradients:
    """What R needs to know of n samples one by one: ‖g_u‖², ⟨g_u, G_S⟩ and the pseudo-label, each (n,)."""

    sq_norm: Floats
    inner: Floats
    label: IntArray


class Gradients:
    """Computes gradients with one version, or looks up what `score` has kept of them.

    ``stored``: G_S as `score` kept it; without, it is summed over the readable images of S when it is first needed.
    """

    def __init__(self, model: DiagnosedModel, sets: Sets, stored: LabeledGradient | None) -> None:
        self.model = model
        self._sets, self._stored = sets, stored

    @cached_property
    def _at_once(self) -> int:
        return self.model.scorer.micro_batch()

    @cached_property
    def _readable_labeled(self) -> list[PoolImage]:
        return self.model.decoded.readable(self._sets.labeled)

    @property
    def labeled(self) -> int:
        """How many samples G_S is summed over: those of S that could be read."""
        return len(self._readable_labeled) if self._stored is None else self._stored.samples

    @cached_property
    def of_labeled(self) -> Gradient:
        """G_S with the labels that the version saw."""
        if self._stored is not None:
            return self._stored.to(self.model.scorer.loaded.device)
        images = self._readable_labeled
        with self.model.feedback.task("gradient of the labeled set", len(images)) as task:
            return self.summed(images, [self._sets.labels[image.key] for image in images], task)

    def of_samples(self, images: Sequence[PoolImage]) -> SampleGradients:
        """What the score table says of ``images``; computed here where it says nothing."""
        known = self._from_table(images)
        missing = np.flatnonzero(np.isnan(known.sq_norm) | np.isnan(known.inner))
        if not len(missing):
            return known
        with self.model.feedback.task("gradients of single samples", len(missing)) as task:
            for piece in even_pieces(len(missing), self._at_once):
                rows = missing[piece]
                pixels = self.model.decoded.inputs([images[row] for row in rows])
                inputs = self.model.scorer.inputs(pixels)
                scores = self.model.scorer.engine.score(inputs, self.of_labeled)
                assert scores.inner is not None
                known.sq_norm[rows] = scores.sq_norm.double().cpu().numpy()
                known.inner[rows] = scores.inner.double().cpu().numpy()
                known.label[rows] = scores.pseudo_label.cpu().numpy()
                task.advance(len(rows))
        return known

    def _from_table(self, images: Sequence[PoolImage]) -> SampleGradients:
        """NaN where a sample was not scored exactly; throughout if the table lacks one of them, or is damaged."""
        table = self._sets.scores.table({Group.PREDICTIONS, Group.GRADIENTS})
        if table is not None:
            columns = ["grad_sq_norm", "grad_inner", "probabilities"]
            try:
                found = table.lookup(digests([image.sample_id for image in images]), columns)
                return SampleGradients(found["grad_sq_norm"], found["grad_inner"], found["probabilities"].argmax(1))
            except DalcliError:
                pass  # then everything is computed
        unknown = np.full(len(images), np.nan)
        return SampleGradients(unknown, unknown.copy(), np.zeros(len(images), np.int64))

    def summed(self, images: Sequence[PoolImage], labels: Sequence[int], task: Task) -> Gradient:
        """Σ ∇ℓ over ``images`` with ``labels``, in float64: one ordinary backward pass over them."""
        return self.model.scorer.engine.labeled_gradient(self._batches(images, labels, task), double=True)

    def _batches(
        self, images: Sequence[PoolImage], labels: Sequence[int], task: Task
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """What the model sees of ``images``, and their ``labels``, some at a time."""
        for piece in even_pieces(len(images), self._at_once):
            yield self.model.inputs(images[piece]), torch.tensor(labels[piece], device=self.model.scorer.device)
            task.advance(piece.stop - piece.start)

    def sketches(self, images: Sequence[PoolImage], spec: SketchSpec, task: Task) -> Floats:
        """Sketches (n, m) of the gradients for the pseudo-labels."""
        found = np.empty((len(images), spec.dimension))
        for piece in even_pieces(len(images), self._at_once):
            scores = self.model.scorer.engine.score(self.model.inputs(images[piece]), None, sketch=spec)
            assert scores.sketch is not None
            found[piece] = scores.sketch.double().cpu().numpy()
            task.advance(piece.stop - piece.start)
        return found


def sq_norm(gradient: Mapping[str, Tensor]) -> float:
    """‖·‖² over all parameters, in float64."""
    return float(sum(float(value.double().square().sum()) for value in gradient.values()))
