"""What one layer did in one pass: how often it ran, and the sums its rule made of the gradient that came back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from dalcli.gradients.assignment import AssignedModule
from dalcli.gradients.precision import widened
from dalcli.gradients.rules import Contribution, LayerCall, UnsupportedCallError
from dalcli.gradients.rules.base import Targets


@dataclass(slots=True)
class Use:
    """Watches one assigned module in one pass over ``samples`` samples: its contribution, or why there is none."""

    assigned: AssignedModule
    samples: int
    targets: Targets
    chunk_bytes: int
    calls: int = 0
    contribution: Contribution | None = None
    failure: str | None = None

    @property
    def broken(self) -> str | None:
        """Why the rule's assumptions do not hold, if they do not."""
        expected = {0: "its module was never called", 1: None}
        return self.failure or expected.get(self.calls, "its module ran more than once in a forward pass")

    def on_forward(self, inputs: Tensor, output: Tensor) -> Callable[[Tensor], None] | None:
        """Count a call and, if it is the first, return what computes the rule's sums once its gradient arrives."""
        self.calls += 1
        if self.calls > 1:
            return None
        if inputs.shape[:1] != (self.samples,) or output.shape[:1] != (self.samples,):
            self.failure = "its module does not keep samples in the first dimension"
            return None
        version = inputs._version

        def on_gradient(gradient: Tensor) -> None:
            if inputs._version != version:
                self.failure = "its input was overwritten in place"
                return
            self._contribute(inputs, gradient)

        return on_gradient

    def _contribute(self, inputs: Tensor, gradient: Tensor) -> None:
        module, names = self.assigned.module, self.assigned.names
        wanted = {local: self.targets.of(full, module.get_parameter(local)) for local, full in names.items()}
        read, delta = _matched(self.assigned, inputs, gradient)
        try:
            self.contribution = self.assigned.rule.contributions(
                LayerCall(module, read, delta, wanted, self.chunk_bytes)
            )
        except UnsupportedCallError as reason:
            self.failure = str(reason)


def _matched(assigned: AssignedModule, inputs: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """What a layer read and received, in the type that its rule takes; they differ under autocast alone."""
    if not inputs.is_floating_point():
        return inputs, widened(gradient)
    if getattr(assigned.rule, "narrow", False) and widened(gradient) is not gradient:
        return inputs.to(gradient.dtype), gradient
    return widened(inputs), widened(gradient)
