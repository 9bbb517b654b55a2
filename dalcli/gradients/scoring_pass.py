"""One pass over samples: rules and intercepted calls first, then the fallback for what they leave."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor

from dalcli.gradients.assignment import FALLBACK, SITE, Assignment
from dalcli.gradients.cross_entropy import residuals, unit_rows
from dalcli.gradients.fallback import Fallback
from dalcli.gradients.functional.intercept import Interception
from dalcli.gradients.memory import Footprint, chunk_bytes
from dalcli.gradients.passes import Pass, frozen, influential, pooled, shape_of
from dalcli.gradients.precision import Precision, computing, widened
from dalcli.gradients.replicas import Replica, UnsettledError
from dalcli.gradients.rules import Contribution
from dalcli.gradients.rules.base import Targets
from dalcli.gradients.uses import Use


@dataclass(slots=True)
class Outcome:
    """What one pass found, by assignee: for the engine to sum up, and for the verification to take apart.

    ``logits``, ``probabilities`` and ``seeds`` (n, K), the unit gradients of the logits, whose ``lengths`` are (n,).
    ``contributions`` are for those: by a module's path, a parameter behind ``SITE``, or ``FALLBACK``.
    """

    logits: Tensor
    probabilities: Tensor
    labels: Tensor
    seeds: Tensor
    lengths: Tensor
    features: Tensor
    contributions: dict[str, Contribution] = field(default_factory=dict)

    def total(self, with_inner: bool) -> Contribution:
        """What all parameters add for the true gradients of the logits: ‖g_u‖², ⟨g_u, V⟩ and, in float64, sketches."""
        total = Contribution.zeros(len(self.labels), self.labels.device, with_inner)
        for contribution in self.contributions.values():
            total += contribution
        return Contribution(
            total.sq_norm * self.lengths.square(),
            None if total.inner is None else total.inner * self.lengths,
            None if total.sketch is None else total.sketch.double() * self.lengths.unsqueeze(1),
        )


class ScoringPass:
    """Runs samples through a model once and asks every assignee: the one place where a pass is put together.

    Only the model itself, ``own``, settles what its modules turn out to do, and has a fallback.
    """

    def __init__(
        self, own: Replica, assignment: Assignment, fallback: Fallback, footprint: Footprint, limit_bytes: int
    ) -> None:
        self.own = own
        self._assignment = assignment
        self._fallback = fallback
        self._footprint = footprint
        self._limit = limit_bytes

    def run(
        self, inputs: Tensor, targets: Targets, replica: Replica, precision: Precision = Precision.FLOAT32
    ) -> Outcome:
        """One pass over inputs (n, ...), which the replica prepared.

        Raises:
            UnsettledError: a copy met what only the model itself may settle.
            ValueError: the model's output is not one row of logits per sample.
        """
        assignment, parameters = self._assignment, replica.parameters
        chunk = chunk_bytes(inputs.device, self._limit)
        uses = [
            Use(replace(each, module=replica.modules[each.path]), inputs.shape[0], targets, chunk)
            for each in assignment.modules
        ]
        left = {name: parameters[name] for name in assignment.fallback_names()}
        with frozen([parameters[name] for use in uses for name in use.assigned.names.values()]):
            one_pass = Pass(replica.model, {use.assigned.module: use.on_forward for use in uses}, inputs.device)
            sited = assignment.sites.interception(shape_of(inputs), inputs.shape[0], one_pass.leaf, parameters)
            with computing(precision, inputs.device):
                logits, features = one_pass.forward(inputs, replica.head, sited)
            logits = widened(logits)
            if logits.dim() != 2 or logits.shape[0] != inputs.shape[0]:
                raise ValueError(f"the model returned logits of shape {tuple(logits.shape)} for {len(inputs)} inputs")
            needed = influential(logits, left)
            labels = logits.detach().argmax(1)
            probabilities, q = residuals(logits, labels)
            seeds, lengths = unit_rows(q)
            one_pass.backward(logits, seeds)
            of_sites = {} if sited is None else sited.contributions(targets, chunk, inputs.device)
        logits = logits.detach()
        features = pooled(logits) if features is None else features
        result = Outcome(logits, probabilities, labels, seeds, lengths, features)
        if replica is not self.own and (left or any(use.broken for use in uses) or _missing(sited, of_sites)):
            raise UnsettledError
        assignment.mark_idle(left.keys() - needed)
        names = [name for name in left if name in needed] + self._settle(uses, result)
        if sited is not None:
            names += self._settle_sites(sited, of_sites, result)
        if names:
            result.contributions[FALLBACK] = self._fall_back(names, inputs, seeds.to(logits.dtype), targets)
        return result

    def _settle(self, uses: Iterable[Use], result: Outcome) -> list[str]:
        """Keep what the rules found; withdraw those whose assumptions the pass breaks and return their parameters."""
        names: list[str] = []
        for use in uses:
            if (reason := use.broken) is not None:
                names += self._assignment.withdraw(use.assigned.path, reason)
            elif use.contribution is not None:
                result.contributions[use.assigned.path] = use.contribution
        return names

    def _settle_sites(self, sited: Interception, found: Mapping[str, Contribution], result: Outcome) -> list[str]:
        """Keep what the calls with parameters yielded; return the names of those that the fallback must take."""
        missing = _missing(sited, found)
        for name in missing:
            self._assignment.sites.refuse(name, sited.failure or "torch cannot vectorise what is computed from it")
        result.contributions.update({SITE + name: value for name, value in found.items() if name not in missing})
        return sorted(missing)

    def _fall_back(self, names: list[str], inputs: Tensor, seeds: Tensor, targets: Targets) -> Contribution:
        gradient_bytes = sum(self._assignment.trainable[name].nbytes for name in names)
        per_sample = 3 * gradient_bytes + 2 * self._footprint.bytes_of(inputs)
        return self._fallback.contributions(names, inputs, seeds, targets, per_sample, self._limit)


def _missing(sited: Interception | None, found: Mapping[str, Contribution]) -> frozenset[str]:
    """The parameters whose calls did not yield what was planned."""
    if sited is None:
        return frozenset()
    return sited.names if sited.failure is not None else sited.names - found.keys()
