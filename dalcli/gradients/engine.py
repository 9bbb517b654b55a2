"""Exact gradient scores over all trainable parameters, in one forward and one backward pass.

For pseudo-labels ŷ_u = argmax f(x_u) the engine returns ‖g_u‖² and ⟨g_u, V⟩ of g_u = ∇_θ ℓ(f(x_u; θ), ŷ_u), the two
terms of Δ(u | S) (Eq. 12, 15), and G_S, the V of the method. Pure torch: it knows no files and no data set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

from dalcli.gradients import memory, selfcheck
from dalcli.gradients.assignment import FALLBACK, SITE, Owner, Ownership
from dalcli.gradients.direction import Direction, Directions
from dalcli.gradients.fallback import Fallback
from dalcli.gradients.forward import Prediction, predicted
from dalcli.gradients.functional.intercept import Interception
from dalcli.gradients.labeled import add_gradient
from dalcli.gradients.passes import Pass, evaluating, frozen, influential, pooled
from dalcli.gradients.precision import Precision, computing, tf32, widened
from dalcli.gradients.projection import Sketcher, SketchSpec
from dalcli.gradients.records import joined
from dalcli.gradients.replicas import Lane, Lanes, UnsettledError, lane_count, spread
from dalcli.gradients.residuals import residuals, unit_rows
from dalcli.gradients.rules import Contribution
from dalcli.gradients.targets import Targets
from dalcli.gradients.uses import Use, on_forward
from dalcli.gradients.verification import Admission, Outcome, shape_of

Part = TypeVar("Part")


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
    memory together (the model itself is not counted), by running fewer samples at once. Every call leaves the model
    as it was: modes, ``requires_grad``, ``.grad`` and hooks, also after an exception. Not for concurrent use.

    The first batch of every shape pays for a self-check against ordinary backward: two samples with all parameters,
    about as much as scoring four more. What fails it goes to the fallback; ``notes`` says so.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        head: str | None,
        memory_limit_bytes: int,
        precision: Precision = Precision.FLOAT32,
    ) -> None:
        if memory_limit_bytes < 1:
            raise ValueError("memory_limit_bytes must be positive")
        self._model = model
        self._own = Lane.of(model, head)
        self._lanes = Lanes(model, head)
        self._limit = memory_limit_bytes
        self._precision = precision
        self._ownership = Ownership(model)
        self._fallback = Fallback(model, self._note)
        self._admission = Admission(model, self._ownership, self._fallback, self._note)
        self._planar = any(isinstance(module, nn.Conv2d) for module in model.modules())
        self._weight_bytes = sum(parameter.nbytes for parameter in model.parameters())
        self._sketcher: Sketcher | None = None
        self._directions = Directions(self._ownership.trainable)
        self._activation_bytes: dict[tuple[object, ...], int] = {}
        self.notes: list[str] = []

    def coverage(self) -> dict[str, str]:
        """By parameter name: the rule that accounts for it, the fallback and why, no influence, or frozen.

        Complete once something was scored: what a module does is known only from a forward pass.
        """
        how = "" if self._fallback.vectorised else ", one sample at a time"
        return {
            name: entry + how if entry.startswith(FALLBACK) else entry
            for name, entry in self._ownership.coverage().items()
        }

    @property
    def owners(self) -> list[Owner]:
        """The modules whose layer rules are in force."""
        return self._ownership.owners

    def labeled_gradient(self, batches: Iterable[tuple[Tensor, Tensor]], *, double: bool = False) -> dict[str, Tensor]:
        """G_S = Σ_{(x,y)∈S} ∇_θ ℓ(f(x; θ), y) in eval mode, by parameter name, in each parameter's dtype.

        ``batches`` yields inputs (n, ...) and true labels (n,) int64. Summed in float64 across chunks; with ``double``
        it stays float64, so that sums over parts of S can be added without loss.
        """
        trainable = self._ownership.trainable
        total = {
            name: torch.zeros_like(parameter, dtype=torch.float64, requires_grad=False)
            for name, parameter in trainable.items()
        }
        with evaluating(self._model), tf32(False):
            for inputs, labels in batches:
                if inputs.shape[0] == 0:
                    continue
                self._check(inputs)
                for piece in self._pieces(inputs):
                    add_gradient(self._model, trainable, self._laid_out(inputs[piece]), labels[piece], total)
        return total if double else {name: value.to(trainable[name].dtype) for name, value in total.items()}

    def score(
        self, inputs: Tensor, direction: Mapping[str, Tensor] | None, sketch: SketchSpec | None = None
    ) -> GradientScores:
        """Score inputs (n, ...) on the model's device; ``direction`` is V (G_S for the method) by parameter name.

        With ``sketch``, the pass also projects every g_u to that many dimensions (see ``scoring.sketch``).

        Raises ValueError for no inputs, and for a direction that lacks a trainable parameter or misshapes one.
        """
        if inputs.shape[0] == 0:
            raise ValueError("there is nothing to score")
        if sketch is not None and (self._sketcher is None or self._sketcher.spec != sketch):
            self._sketcher = Sketcher(sketch)
        sketcher = None if sketch is None else self._sketcher
        with evaluating(self._model), tf32(self._precision is Precision.TF32):
            self._check(inputs)
            # Only now: the check needs as much memory for itself.
            prepared = None if direction is None else self._directions.of(direction)

            def scored(lane: Lane, piece: slice) -> GradientScores:
                return self._scores(self._laid_out(inputs[piece]), prepared, sketcher, lane, self._precision)

            return joined(self._spread(inputs, scored))

    def predict(self, inputs: Tensor) -> Prediction:
        """Probabilities, pseudo-labels and features of inputs (n, ...) by a forward pass alone, as :meth:`score` has.

        Raises ValueError for no inputs.
        """
        if inputs.shape[0] == 0:
            raise ValueError("there is nothing to predict")
        with evaluating(self._model), tf32(self._precision is Precision.TF32):
            self._check(inputs)

            def forward(lane: Lane, piece: slice) -> Prediction:
                with computing(self._precision, inputs.device):
                    return predicted(lane.model, lane.head, self._laid_out(inputs[piece]))

            return joined(self._spread(inputs, forward))

    def samples_at_once(self, sample: Tensor) -> int:
        """How many inputs like ``sample`` (1, ...) fit the memory limit at once; at least one."""
        return memory.samples_at_once(self._bytes_of(sample), self._limit)

    def _note(self, message: str) -> None:
        if message not in self.notes:
            self.notes.append(message)

    def _spread(self, inputs: Tensor, work: Callable[[Lane, slice], Part]) -> list[Part]:
        """``work`` on every piece of the inputs: by copies of the model where possible, else by the model itself."""
        alone = self._admission.one_at_a_time or bool(self._ownership.fallback_names())
        at_once = min(inputs.shape[0], self.samples_at_once(inputs[:1]))
        # Every lane lays out all weights for its convolutions: its activations should outweigh them.
        at_once = min(at_once, inputs.shape[0] * self._bytes_of(inputs) // max(1, self._weight_bytes))
        lanes = [] if alone else self._lanes.copies(lane_count(inputs.device, at_once))
        if lanes:
            try:
                return spread(lanes, self._pieces(inputs, len(lanes)), work)
            except UnsettledError:
                self._lanes.refuse()
        return [work(self._own, piece) for piece in self._pieces(inputs)]

    def _scores(
        self,
        inputs: Tensor,
        direction: Direction | None,
        sketcher: Sketcher | None,
        lane: Lane,
        precision: Precision = Precision.FLOAT32,
    ) -> GradientScores:
        targets = Targets(None if direction is None else direction.vector, sketcher)
        result = self._run(inputs, targets, lane, precision)
        total = Contribution.zeros(inputs.shape[0], inputs.device, direction is not None)
        for contribution in result.contributions.values():
            total += contribution
        inner = None
        if direction is not None and total.inner is not None:
            inner = total.inner * result.lengths * direction.scale
        sketch = None
        if sketcher is not None:
            found = inputs.new_zeros(len(inputs), sketcher.spec.dimension, dtype=torch.float64)
            found = found if total.sketch is None else total.sketch.double()
            sketch = (found * result.lengths.unsqueeze(1)).float()
        return GradientScores(
            total.sq_norm * result.lengths.square(),
            inner,
            result.probabilities.float(),
            result.labels,
            result.features,
            sketch,
        )

    def _run(self, inputs: Tensor, targets: Targets, lane: Lane, precision: Precision = Precision.FLOAT32) -> Outcome:
        """One pass over inputs, rules first, then the fallback for what is left.

        Only the model itself settles what its modules turn out to do, and has a fallback; raises UnsettledError where
        a copy of it would have to.
        """
        ownership, parameters = self._ownership, lane.parameters
        owners = [replace(owner, module=lane.modules[owner.path]) for owner in ownership.owners]
        uses = {owner.path: Use() for owner in owners}
        chunk = memory.chunk_bytes(inputs.device, self._limit)
        watched = {
            owner.module: partial(on_forward, owner, uses[owner.path], inputs.shape[0], targets, chunk)
            for owner in owners
        }
        owned = [parameters[name] for owner in owners for name in owner.names.values()]
        left = {name: parameters[name] for name in ownership.fallback_names()}
        with frozen(owned):
            this_pass = Pass(lane.model, watched, inputs.device)
            sited = ownership.sites.interception(shape_of(inputs), inputs.shape[0], this_pass.leaf, parameters)
            with computing(precision, inputs.device):
                logits, features = this_pass.forward(inputs, lane.head, sited)
            logits = widened(logits)
            if logits.dim() != 2 or logits.shape[0] != inputs.shape[0]:
                raise ValueError(f"the model returned logits of shape {tuple(logits.shape)} for {len(inputs)} inputs")
            needed = influential(logits, left)
            labels = logits.detach().argmax(1)
            probabilities, q = residuals(logits, labels)
            seeds, lengths = unit_rows(q)
            this_pass.backward(logits, seeds)
            of_sites = {} if sited is None else sited.contributions(targets, chunk, inputs.device)
        logits = logits.detach()
        if lane is not self._own and (left or not all(use.clean for use in uses.values()) or _missing(sited, of_sites)):
            raise UnsettledError
        ownership.mark_idle(left.keys() - needed)
        result = Outcome(
            logits, probabilities, labels, seeds, lengths, pooled(logits) if features is None else features
        )
        names = [name for name in left if name in needed] + self._settle(uses, result)
        if sited is not None:
            names += self._settle_sites(sited, of_sites, result)
        if names:
            result.contributions[FALLBACK] = self._fall_back(names, inputs, seeds.to(logits.dtype), targets)
        return result

    def _settle(self, uses: Mapping[str, Use], result: Outcome) -> list[str]:
        """Keep what the rules found; demote owners whose pass breaks their assumptions and return their parameters."""
        names: list[str] = []
        for path, use in uses.items():
            reason = use.failure or {0: "its module was never called", 1: None}.get(
                use.calls, "its module ran more than once in a forward pass"
            )
            if reason is not None:
                names += self._ownership.demote(path, reason)
            elif use.contribution is not None:
                result.contributions[path] = use.contribution
        return names

    def _settle_sites(self, sited: Interception, found: Mapping[str, Contribution], result: Outcome) -> list[str]:
        """Keep what the calls with parameters yielded; return the names of those that the fallback must take."""
        missing = _missing(sited, found)
        for name in missing:
            self._ownership.sites.refuse(name, sited.failure or "torch cannot vectorise what is computed from it")
        result.contributions.update({SITE + name: value for name, value in found.items() if name not in missing})
        return sorted(missing)

    def _fall_back(self, names: list[str], inputs: Tensor, seeds: Tensor, targets: Targets) -> Contribution:
        parameters = self._ownership.trainable
        gradient_bytes = sum(parameters[name].nbytes for name in names)
        per_sample = 3 * gradient_bytes + 2 * self._bytes_of(inputs)
        return self._fallback.contributions(names, inputs, seeds, targets, per_sample, self._limit)

    def _check(self, inputs: Tensor) -> None:
        """Hold the first samples of a new shape against ordinary backward."""
        if self._admission.needs(inputs):
            self._precision.require(inputs.device)
            sample = self._laid_out(inputs[: self._admission.samples])
            self._admission.admit(sample, partial(self._run, lane=self._own))
            self._compare_copy(sample)

    def _compare_copy(self, sample: Tensor) -> None:
        """Give up copies of a model that do not do what it does."""
        if self._ownership.fallback_names():
            return
        for lane in self._lanes.copies(1):
            try:
                found, expected = (self._scores(sample, None, None, each).sq_norm.sum() for each in (lane, self._own))
            except UnsettledError:
                found = expected = sample.new_full((), torch.nan)
            if not torch.allclose(found, expected, rtol=selfcheck.RELATIVE):
                self._lanes.refuse()

    def _pieces(self, inputs: Tensor, lanes: int = 1) -> list[slice]:
        if self._admission.one_at_a_time:
            return memory.even_pieces(inputs.shape[0], 1)
        per_sample = self._bytes_of(inputs)
        most = memory.samples_at_once(per_sample, self._limit // lanes)
        favourable = memory.favourable_samples(per_sample, self._weight_bytes, inputs.device)
        return memory.even_pieces(inputs.shape[0], most if favourable is None else min(most, favourable), lanes)

    def _bytes_of(self, inputs: Tensor) -> int:
        """Activation bytes of one sample, measured once per shape."""
        key = shape_of(inputs)
        if key not in self._activation_bytes:
            with evaluating(self._model):
                self._activation_bytes[key] = memory.activation_bytes(self._model, self._laid_out(inputs[:1]))
        return self._activation_bytes[key]

    def _laid_out(self, inputs: Tensor) -> Tensor:
        """Images channels-last, which convolutions prefer on every device; ordinary tensors for autograd."""
        plain = inputs.clone() if inputs.is_inference() else inputs.detach()
        return plain.contiguous(memory_format=torch.channels_last) if self._planar and plain.dim() == 4 else plain


def _missing(sited: Interception | None, found: Mapping[str, Contribution]) -> frozenset[str]:
    """The parameters whose calls did not yield what was planned."""
    if sited is None:
        return frozenset()
    return sited.names if sited.failure is not None else sited.names - found.keys()
