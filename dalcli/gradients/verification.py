"""Before a shape of input is scored: settle what accounts for each parameter, by comparing with ordinary backward."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from dalcli.gradients import selfcheck
from dalcli.gradients.assignment import FALLBACK, SITE, Assignment
from dalcli.gradients.direction import RandomDirection
from dalcli.gradients.fallback import Fallback
from dalcli.gradients.passes import shape_of
from dalcli.gradients.replicas import Replicas, UnsettledError
from dalcli.gradients.rules.base import Targets
from dalcli.gradients.scoring_pass import Outcome, ScoringPass
from dalcli.runtime.memory import is_out_of_memory


class Verification:
    """Takes parameters from whatever disagrees with autograd, so that scores can be trusted on any model.

    ``one_at_a_time`` once the model was found to mix its samples.
    """

    def __init__(
        self,
        scoring_pass: ScoringPass,
        assignment: Assignment,
        fallback: Fallback,
        replicas: Replicas,
        notes: list[str],
    ) -> None:
        self.one_at_a_time = False
        self._pass = scoring_pass
        self._assignment = assignment
        self._fallback = fallback
        self._replicas = replicas
        self._notes = notes
        self._verified: set[tuple[object, ...]] = set()

    @property
    def samples(self) -> int:
        """How many samples ``verify`` wants to see, if there are as many."""
        return 1 if self.one_at_a_time else selfcheck.SAMPLES

    def needs(self, inputs: Tensor) -> bool:
        """Whether inputs like these were not verified yet."""
        return _key(inputs) not in self._verified

    def verify(self, sample: Tensor) -> None:
        """Settle everything for inputs like the first samples of a batch, (1 or 2, ...), prepared."""
        key, sites = _key(sample), self._assignment.sites
        direction = RandomDirection(self._assignment.trainable)

        def learnt() -> bool:
            return sites.learn(shape_of(sample), sample[:1], self._assignment.fallback_names())

        learnt()
        # Every turn but the last withdraws rules, finds or refuses sites, gives up vmap or gives up batches.
        while not self._agrees(sample, direction) or learnt():
            if self.one_at_a_time:
                sample = sample[:1]
        self._compare_copy(sample)
        self._verified |= {key, _key(sample)}

    def _agrees(self, sample: Tensor, direction: Mapping[str, Tensor]) -> bool:
        """Compare one pass over the sample with autograd; False if something changed and must be tried again."""
        outcome = self._watched(sample, direction)
        if outcome is None:
            return False
        assigned = {each.path: list(each.names.values()) for each in self._assignment.modules}
        assigned |= {SITE + name: [name] for name in self._assignment.sites.kinds}
        left = self._assignment.fallback_names()
        if left:
            assigned[FALLBACK] = left
        trainable = self._assignment.trainable
        verdict = selfcheck.compare(self._pass.own.model, trainable, assigned, sample, outcome, direction)
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

    def _watched(self, sample: Tensor, direction: Mapping[str, Tensor]) -> Outcome | None:
        """One pass; None if the model turned out unable to run while its calls are intercepted."""
        sites, own = self._assignment.sites, self._pass.own
        try:
            return self._pass.run(sample, Targets(direction), own)
        except Exception as error:
            if not sites.kinds or is_out_of_memory(error):
                raise
            own.model(sample)  # a model that fails anyway has its own error to tell
        for name in list(sites.kinds):
            sites.refuse(name, "the model cannot run while its calls are intercepted")
        return None

    def _gave_up_rules(self, sample: Tensor, wrong: list[str]) -> bool:
        """Reread or refuse the sites, and withdraw the rules, among the assignees that were wrong."""
        sites = self._assignment.sites
        misread = [path.removeprefix(SITE) for path in wrong if path.startswith(SITE)]
        if misread and sites.reconsider(shape_of(sample), misread):
            return True
        for name in misread:
            sites.refuse(name, "its use failed the self-check")
            self._note(f"{name}: its use disagrees with ordinary backward; using the fallback")
        modules = [path for path in wrong if path != FALLBACK and not path.startswith(SITE)]
        for path in modules:
            names = self._assignment.withdraw(path, "its rule failed the self-check")
            self._note(f"{', '.join(names)}: the layer rule disagrees with ordinary backward; using the fallback")
        return bool(misread or modules)

    def _compare_copy(self, sample: Tensor) -> None:
        """Give up copies of a model that do not do what it does."""
        if self._assignment.fallback_names():
            return
        for copy in self._replicas.copies(1):
            try:
                found, expected = (
                    self._pass.run(sample, Targets(), each).total(with_inner=False).sq_norm.sum()
                    for each in (copy, self._pass.own)
                )
            except UnsettledError:
                found = expected = sample.new_full((), torch.nan)
            if not torch.allclose(found, expected, rtol=selfcheck.RELATIVE):
                self._replicas.refuse()

    def _note(self, message: str) -> None:
        if message not in self._notes:
            self._notes.append(message)


def _key(inputs: Tensor) -> tuple[object, ...]:
    # A batch of one says nothing about samples that mix, so it is a shape of its own.
    return (*shape_of(inputs), inputs.shape[0] > 1)
