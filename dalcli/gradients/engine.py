"""Exact gradient scores over all trainable parameters, in one forward and one backward pass.

For pseudo-labels ŷ_u = argmax f(x_u) the engine returns ‖g_u‖² and ⟨g_u, V⟩ of g_u = ∇_θ ℓ(f(x_u; θ), ŷ_u), the two
terms of Δ(u | S) (Eq. 12, 15), and G_S, the V of the method. Pure torch: it knows no files and no data set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

from dalcli.gradients import memory
from dalcli.gradients.assignment import FALLBACK, AssignedModule, Assignment
from dalcli.gradients.cross_entropy import GradientSum, labeled_gradient
from dalcli.gradients.direction import Direction, Directions
from dalcli.gradients.fallback import Fallback
from dalcli.gradients.forward import Prediction, predicted
from dalcli.gradients.passes import evaluating
from dalcli.gradients.pieces import Halving, joined, single_image_errors
from dalcli.gradients.precision import Precision, computing, tf32
from dalcli.gradients.projection import Sketcher, SketchSpec
from dalcli.gradients.replicas import Replica, Replicas, UnsettledError, replica_count, spread
from dalcli.gradients.rules.base import Targets
from dalcli.gradients.scoring_pass import ScoringPass
from dalcli.gradients.verification import Verification

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class GradientScores:
    """Scores of n samples: ``sq_norm`` ‖g_u‖² and ``inner`` ⟨g_u, V⟩ (n,) float64, ``inner`` None without a direction;

    ``probabilities`` (n, K) float32; ``pseudo_label`` (n,) int64; ``features`` (n, d): what the head read, averaged
    over positions, or the logits where the model names no head; ``sketch`` (n, m) float32, or None if not asked for.
    """

    sq_norm: Tensor
    inner: Tensor | None
    probabilities: Tensor
    pseudo_label: Tensor
    features: Tensor
    sketch: Tensor | None = None


class GradientEngine:
    """Scores samples of one model; its trainable parameters are those that require gradients now.

    ``precision`` is that of the passes; what they find is put together, and checked, in float32 and float64.

    ``head`` names the module whose input is the feature vector. ``memory_limit_bytes`` bounds activations and working
    memory together (the model itself is not counted), by running fewer samples at once. Where memory runs out all the
    same, half as many run at once from then on; DalcliError where it does not do for one. Every call leaves the model
    as it was: modes, ``requires_grad``, ``.grad`` and hooks, also after an exception. Not for concurrent use.

    ``features`` False: those are left out, (n, 0), and predictions' residuals with them, for whoever has the features
    already: a head reads nothing else.

    The first batch of every shape pays for a verification against ordinary backward: two samples with all parameters,
    about as much as scoring four more. What fails it goes to the fallback. ``notes`` says what happened, once each.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        head: str | None,
        memory_limit_bytes: int,
        precision: Precision = Precision.FLOAT32,
        features: bool = True,
    ) -> None:
        if memory_limit_bytes < 1:
            raise ValueError("memory_limit_bytes must be positive")
        self.notes: list[str] = []
        self._limit = memory_limit_bytes
        self._precision = precision
        self._kept = slice(None if features else 0)
        self._own = Replica.of(model, head)
        self._replicas = Replicas(model, head)
        self._assignment = Assignment(model)
        self._fallback = Fallback(model, self.notes)
        self._footprint = memory.Footprint(self._own)
        self._pass = ScoringPass(self._own, self._assignment, self._fallback, self._footprint, memory_limit_bytes)
        self._verification = Verification(self._pass, self._assignment, self._fallback, self._replicas, self.notes)
        self._halving = Halving(self.notes)
        self._directions = Directions(self._assignment.trainable)
        self._sketcher: Sketcher | None = None

    def coverage(self) -> dict[str, str]:
        """By parameter name: the rule that accounts for it, the fallback and why, no influence, or frozen.

        Complete once something was scored: what a module does is known only from a forward pass.
        """
        how = "" if self._fallback.vectorised else ", one sample at a time"
        return {
            name: entry + how if entry.startswith(FALLBACK) else entry
            for name, entry in self._assignment.coverage().items()
        }

    @property
    def assigned(self) -> list[AssignedModule]:
        """The modules whose layer rules are in force."""
        return self._assignment.modules

    def labeled_gradient(self, batches: Iterable[tuple[Tensor, Tensor]], *, double: bool = False) -> dict[str, Tensor]:
        """G_S = Σ_{(x,y)∈S} ∇_θ ℓ(f(x; θ), y) in eval mode, by parameter name, in each parameter's dtype.

        ``batches`` yields inputs (n, ...) and true labels (n,) int64. Summed in float64 across pieces; with ``double``
        it stays float64, so that sums over parts of S can be added without loss.
        """
        trainable = self._assignment.trainable
        with evaluating(self._own.model), tf32(False):
            total = {
                name: torch.zeros_like(parameter, dtype=torch.float64, requires_grad=False)
                for name, parameter in trainable.items()
            }
            for inputs, labels in batches:
                if inputs.shape[0] == 0:
                    continue
                with single_image_errors(inputs.device):
                    self._add_labeled(inputs, labels, total)
        return total if double else {name: value.to(trainable[name].dtype) for name, value in total.items()}

    def score(
        self, inputs: Tensor, direction: Mapping[str, Tensor] | None, sketch: SketchSpec | None = None
    ) -> GradientScores:
        """Score inputs (n, ...) on the model's device; ``direction`` is V (G_S for the method) by parameter name.

        With ``sketch``, the pass also projects every g_u to that many dimensions (see ``sketch``).

        Raises ValueError for no inputs, and for a direction that lacks a trainable parameter or misshapes one.
        """
        if inputs.shape[0] == 0:
            raise ValueError("there is nothing to score")
        if sketch is not None and (self._sketcher is None or self._sketcher.spec != sketch):
            self._sketcher = Sketcher(sketch)
        sketcher = None if sketch is None else self._sketcher
        with self._working(inputs.device):
            self._verify(inputs)
            # Only now: the verification needs as much memory for itself.
            prepared = None if direction is None else self._directions.of(direction)

            def scored(replica: Replica, piece: slice) -> GradientScores:
                return self._scores(replica.prepared(inputs[piece]), prepared, sketcher, replica)

            return joined(self._spread(inputs, scored))

    def predict(self, inputs: Tensor) -> Prediction:
        """Probabilities, pseudo-labels and features of inputs (n, ...) by a forward pass alone, as :meth:`score` has.

        Raises ValueError for no inputs.
        """
        if inputs.shape[0] == 0:
            raise ValueError("there is nothing to predict")
        with self._working(inputs.device):
            self._verify(inputs)

            def forward(replica: Replica, piece: slice) -> Prediction:
                with computing(self._precision, inputs.device):
                    found = predicted(replica.model, replica.head, replica.prepared(inputs[piece]))
                return replace(found, features=found.features[:, self._kept], residuals=found.residuals[:, self._kept])

            return joined(self._spread(inputs, forward))

    def samples_at_once(self, sample: Tensor) -> int:
        """How many inputs like ``sample`` (1, ...) fit the memory limit at once; at least one."""
        with single_image_errors(sample.device):
            return memory.samples_at_once(self._footprint.bytes_of(sample), self._limit)

    @contextmanager
    def _working(self, device: torch.device) -> Iterator[None]:
        """What a call on samples does to the process and the model meanwhile."""
        allowed = self._precision is Precision.TF32
        with single_image_errors(device), evaluating(self._own.model), tf32(allowed):
            yield

    def _verify(self, inputs: Tensor) -> None:
        """Hold the first samples of a new shape against ordinary backward."""
        while self._verification.needs(first := inputs[: self._halving.capped(self._verification.samples)]):
            self._precision.require(inputs.device)
            verify = partial(self._verification.verify, self._own.prepared(first))
            self._halving.attempt(verify, first.shape[0], inputs.device)

    def _spread(self, inputs: Tensor, work: Callable[[Replica, slice], Found]) -> list[Found]:
        """``work`` on every piece of the inputs: by copies of the model where possible, else by the model itself."""
        while True:
            replicas = self._replicas_for(inputs)
            try:
                if len(replicas) == 1:
                    return list(self._halving.map(partial(work, replicas[0]), inputs, self._most(inputs)))
                pieces = memory.even_pieces(inputs.shape[0], self._most(inputs, len(replicas)), len(replicas))
                at_once = sum(sorted(piece.stop - piece.start for piece in pieces)[-len(replicas) :])
                found = self._halving.attempt(partial(spread, replicas, pieces, work), at_once, inputs.device)
            except UnsettledError:
                self._replicas.refuse()
            else:
                if found is not None:
                    return found

    def _replicas_for(self, inputs: Tensor) -> Sequence[Replica]:
        """Copies of the model for as many threads as these inputs are worth; the model itself where it has none."""
        if self._verification.one_at_a_time or self._assignment.fallback_names():
            return [self._own]
        at_once = self._halving.capped(min(inputs.shape[0], self.samples_at_once(inputs[:1])))
        # Every replica lays out all weights for its convolutions: its activations should outweigh them.
        activations, weights = inputs.shape[0] * self._footprint.bytes_of(inputs), self._footprint.weight_bytes
        at_once = min(at_once, activations // max(1, weights))
        return self._replicas.copies(replica_count(inputs.device, at_once)) or [self._own]

    def _most(self, inputs: Tensor, replicas: int = 1) -> int:
        """How many samples each of so many replicas may take at once."""
        if self._verification.one_at_a_time:
            return 1
        per_sample = self._footprint.bytes_of(inputs)
        most = memory.samples_at_once(per_sample, self._limit // replicas)
        favourable = memory.favourable_samples(per_sample, self._footprint.weight_bytes, inputs.device)
        most = most if favourable is None else min(most, favourable)
        return max(1, self._halving.capped(most * replicas) // replicas)

    def _add_labeled(self, inputs: Tensor, labels: Tensor, total: dict[str, Tensor]) -> None:
        self._verify(inputs)
        # Added only once it is all there: a piece that runs out of memory halfway comes again.
        for found in self._halving.map(partial(self._labeled, inputs, labels), inputs, self._most(inputs)):
            found.add_to(total)
            del found  # as large as the model: never those of two pieces

    def _labeled(self, inputs: Tensor, labels: Tensor, piece: slice) -> GradientSum:
        own = self._own
        return labeled_gradient(own.model, self._assignment.trainable, own.prepared(inputs[piece]), labels[piece])

    def _scores(
        self, inputs: Tensor, direction: Direction | None, sketcher: Sketcher | None, replica: Replica
    ) -> GradientScores:
        """One piece, with the lengths that were taken out for the pass."""
        targets = Targets(None if direction is None else direction.vector, sketcher)
        result = self._pass.run(inputs, targets, replica, self._precision)
        total = result.total(with_inner=direction is not None)
        sketch = total.sketch
        if sketcher is not None and sketch is None:  # no parameter has any influence
            sketch = inputs.new_zeros(len(inputs), sketcher.spec.dimension, dtype=torch.float64)
        return GradientScores(
            sq_norm=total.sq_norm,
            inner=None if direction is None or total.inner is None else total.inner * direction.scale,
            probabilities=result.probabilities.float(),
            pseudo_label=result.labels,
            features=result.features[:, self._kept],
            sketch=None if sketch is None else sketch.float(),
        )
