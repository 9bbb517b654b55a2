"""Before a shape of input is scored: settle what accounts for each parameter, by comparing with ordinary backward."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from dalcli.gradients import selfcheck
from dalcli.gradients.assignment import FALLBACK, SITE, Ownership
from dalcli.gradients.direction import RandomDirection
from dalcli.gradients.fallback import Fallback
from dalcli.gradients.rules import Contribution
from dalcli.gradients.targets import Targets


@dataclass(slots=True)
class Outcome:
    """One pass: logits, probabilities, ``seeds`` (n, K) each, unit gradients of the logits and their ``lengths`` (n,).

    ``contributions`` are by owner: a module's path, a parameter behind ``SITE``, or ``FALLBACK``.
    """

    logits: Tensor
    probabilities: Tensor
    labels: Tensor
    seeds: Tensor
    lengths: Tensor
    features: Tensor
    contributions: dict[str, Contribution] = field(default_factory=dict)


Run = Callable[[Tensor, Targets], Outcome]


def shape_of(inputs: Tensor) -> tuple[object, ...]:
    """What a batch has in common with others of the same kind, whatever their size."""
    return (tuple(inputs.shape[1:]), inputs.dtype, inputs.device)


class Admission:
    """Demotes whatever disagrees with autograd; ``one_at_a_time`` once the model was found to mix its samples."""

    def __init__(self, model: nn.Module, ownership: Ownership, fallback: Fallback, note: Callable[[str], None]) -> None:
        self.one_at_a_time = False
        self._model = model
        self._ownership = ownership
        self._fallback = fallback
        self._note = note
        self._admitted: set[tuple[object, ...]] = set()

    @property
    def samples(self) -> int:
        """How many samples ``admit`` wants to see, if there are as many."""
        return 1 if self.one_at_a_time else selfcheck.SAMPLES

    def needs(self, inputs: Tensor) -> bool:
        """Whether inputs like these were not admitted yet."""
        return _key(inputs) not in self._admitted

    def admit(self, sample: Tensor, run: Run) -> None:
        """Settle everything for inputs like the first samples of a batch, (1 or 2, ...)."""
        key, sites = _key(sample), self._ownership.sites
        direction = RandomDirection(self._ownership.trainable)

        def learnt() -> bool:
            return sites.learn(shape_of(sample), sample[:1], self._ownership.fallback_names())

        learnt()
        # Every turn but the last demotes owners, finds or refuses sites, gives up vmap or gives up batches.
        while not self._agrees(sample, direction, run) or learnt():
            if self.one_at_a_time:
                sample = sample[:1]
        self._admitted.add(key)

    def _agrees(self, sample: Tensor, direction: Mapping[str, Tensor], run: Run) -> bool:
        """Compare one pass over the sample with autograd; False if something changed and must be tried again."""
        outcome = self._watched(sample, direction, run)
        if outcome is None:
            return False
        owned = {owner.path: list(owner.names.values()) for owner in self._ownership.owners}
        owned |= {SITE + name: [name] for name in self._ownership.sites.kinds}
        left = self._ownership.fallback_names()
        if left:
            owned[FALLBACK] = left
        verdict = selfcheck.compare(
            self._model,
            self._ownership.trainable,
            owned,
            outcome.contributions,
            sample,
            outcome.logits,
            outcome.seeds,
            direction,
        )
        if verdict.mixed and sample.shape[0] > 1:
            self.one_at_a_time = True
            self._note("the model mixes the samples of a batch even in eval mode: every sample is scored alone")
            return False
        if self._gave_up_rules(sample, verdict.wrong):
            return False
        if verdict.wrong and self._fallback.vectorised:
            self._fallback.refuse_vmap("its gradients disagree with ordinary backward")
            return False
        if verdict.wrong or verdict.mixed:
            self._note("the model gives different results for the same input in eval mode: scores are not reproducible")
        return True

    def _watched(self, sample: Tensor, direction: Mapping[str, Tensor], run: Run) -> Outcome | None:
        """One pass; None if the model turned out unable to run while its calls are intercepted."""
        sites = self._ownership.sites
        try:
            return run(sample, Targets(direction))
        except torch.cuda.OutOfMemoryError:
            raise
        except Exception:
            if not sites.kinds:
                raise
            self._model(sample)  # a model that fails anyway has its own error to tell
        for name in list(sites.kinds):
            sites.refuse(name, "the model cannot run while its calls are intercepted")
        return None

    def _gave_up_rules(self, sample: Tensor, wrong: list[str]) -> bool:
        """Reread or refuse the sites, and demote the modules, among the owners that were wrong."""
        sites = self._ownership.sites
        misread = [path.removeprefix(SITE) for path in wrong if path.startswith(SITE)]
        if misread and sites.reconsider(shape_of(sample), misread):
            return True
        for name in misread:
            sites.refuse(name, "its use failed the self-check")
            self._note(f"{name}: its use disagrees with ordinary backward; using the fallback")
        modules = [path for path in wrong if path != FALLBACK and not path.startswith(SITE)]
        for path in modules:
            names = self._ownership.demote(path, "its rule failed the self-check")
            self._note(f"{', '.join(names)}: the layer rule disagrees with ordinary backward; using the fallback")
        return bool(misread or modules)


def _key(inputs: Tensor) -> tuple[object, ...]:
    # A batch of one says nothing about samples that mix, so it is a shape of its own.
    return (*shape_of(inputs), inputs.shape[0] > 1)
