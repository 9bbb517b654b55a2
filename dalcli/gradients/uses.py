"""What one layer did in one pass: how often it ran, and the sums its rule made of the gradient that came back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from dalcli.gradients.assignment import Owner
from dalcli.gradients.precision import widened
from dalcli.gradients.rules import Contribution, LayerCall, UnsupportedCallError
from dalcli.gradients.targets import Targets


@dataclass(slots=True)
class Use:
    """What one owner did in one pass."""

    calls: int = 0
    contribution: Contribution | None = None
    failure: str | None = None

    @property
    def clean(self) -> bool:
        """Whether the module ran once and the rule's assumptions held."""
        return self.calls == 1 and self.failure is None


def on_forward(
    owner: Owner,
    use: Use,
    samples: int,
    targets: Targets,
    chunk_bytes: int,
    inputs: Tensor,
    output: Tensor,
) -> Callable[[Tensor], None] | None:
    """Count a call and, if it is the first, return what computes the owner's sums once its gradient arrives."""
    use.calls += 1
    if use.calls > 1:
        return None
    if inputs.shape[:1] != (samples,) or output.shape[:1] != (samples,):
        use.failure = "its module does not keep samples in the first dimension"
        return None
    version = inputs._version

    def on_gradient(gradient: Tensor) -> None:
        if inputs._version != version:
            use.failure = "its input was overwritten in place"
            return
        names = owner.names
        wanted = {local: targets.of(full, owner.module.get_parameter(local)) for local, full in names.items()}
        read, delta = _matched(owner, inputs, gradient)
        call = LayerCall(owner.module, read, delta, wanted, chunk_bytes)
        try:
            use.contribution = owner.rule.contributions(call)
        except UnsupportedCallError as reason:
            use.failure = str(reason)

    return on_gradient


def _matched(owner: Owner, inputs: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """What a layer read and received, in the type that its rule takes; they differ under autocast alone."""
    if not inputs.is_floating_point():
        return inputs, widened(gradient)
    if getattr(owner.rule, "narrow", False) and widened(gradient) is not gradient:
        return inputs.to(gradient.dtype), gradient
    return widened(inputs), widened(gradient)
