"""Per-sample gradients of the parameters that nothing else accounts for: by vmap, else one sample at a time.

Slower than any rule, and always right: the gradient is autograd's own.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping

from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from dalcli.gradients.passes import frozen, logits_of
from dalcli.gradients.rules.base import Contribution, Targets, of_gradients
from dalcli.gradients.rules.sums import in_chunks
from dalcli.gradients.vjp import vjp
from dalcli.runtime.memory import is_out_of_memory


class Fallback:
    """Sums over per-sample gradients of Σ_k logits_k·seed_k, for whatever no rule understands of a model."""

    def __init__(self, model: nn.Module, notes: list[str]) -> None:
        self._model = model
        self._notes = notes
        self.vectorised = True

    def refuse_vmap(self, reason: str) -> None:
        """From now on one sample at a time."""
        if self.vectorised:
            self.vectorised = False
            self._notes.append(f"vmap cannot run this model, so its fallback runs one sample at a time: {reason}")

    def contributions(
        self,
        names: list[str],
        inputs: Tensor,
        seeds: Tensor,
        targets: Targets,
        bytes_per_sample: int,
        chunk_bytes: int,
    ) -> Contribution:
        """‖·‖² and the ``targets`` over the parameters ``names``; inputs (n, ...), seeds (n, K)."""
        parameters = dict(self._model.named_parameters())
        chosen = {name: parameters[name] for name in names}

        def part(piece: slice) -> Contribution:
            if self.vectorised:
                try:
                    return self._together(chosen, inputs[piece], seeds[piece], targets)
                except Exception as refusal:  # vmap refuses in many ways; whatever is truly wrong recurs one by one
                    if is_out_of_memory(refusal):
                        raise
                    self.refuse_vmap((str(refusal) or type(refusal).__name__).splitlines()[0])
            return self._one_by_one(chosen, inputs[piece], seeds[piece], targets)

        with frozen(list(parameters.values())):
            return in_chunks(inputs.shape[0], bytes_per_sample, chunk_bytes, part)

    def _together(
        self,
        chosen: Mapping[str, nn.Parameter],
        inputs: Tensor,
        seeds: Tensor,
        targets: Targets,
    ) -> Contribution:
        def loss(values: dict[str, Tensor], sample: Tensor, seed: Tensor) -> Tensor:
            logits = logits_of(functional_call(self._model, values, (sample.unsqueeze(0),)))
            return (logits.reshape(-1) * seed).sum()

        values = {name: parameter.detach() for name, parameter in chosen.items()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # vmap announces operations that it loops over
            gradients = vmap(grad(loss), in_dims=(None, 0, 0))(values, inputs, seeds)
        return _summed(gradients, inputs, targets)

    def _one_by_one(
        self,
        chosen: Mapping[str, nn.Parameter],
        inputs: Tensor,
        seeds: Tensor,
        targets: Targets,
    ) -> Contribution:
        def part(piece: slice) -> Contribution:
            gradients = sample_gradients(self._model, chosen, inputs[piece], seeds[piece])[1]
            return _summed({name: value[None] for name, value in gradients.items()}, inputs[piece], targets)

        return in_chunks(inputs.shape[0], 1, 1, part)


def sample_gradients(
    model: nn.Module, chosen: Mapping[str, nn.Parameter], sample: Tensor, seed: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits (K,) and ordinary autograd's gradient of Σ_k logits_k·seed_k for one sample (1, ...), seed (1, K).

    Parameters without influence are absent. The model's ``requires_grad`` flags are left as they were.
    """
    before = [parameter.requires_grad for parameter in chosen.values()]
    try:
        for parameter in chosen.values():
            parameter.requires_grad_(True)
        logits = logits_of(model(sample)).reshape(-1)
        if not chosen or not logits.requires_grad:
            return logits.detach(), {}
        found = vjp(logits, seed.reshape(-1), list(chosen.values()))
    finally:
        for parameter, flag in zip(chosen.values(), before, strict=True):
            parameter.requires_grad_(flag)
    gradients = {
        name: gradient.to_dense() if gradient.is_sparse else gradient
        for name, gradient in zip(chosen, found, strict=True)
        if gradient is not None
    }
    return logits.detach(), gradients


def _summed(gradients: Mapping[str, Tensor], inputs: Tensor, targets: Targets) -> Contribution:
    total = Contribution.zeros(inputs.shape[0], inputs.device, targets.direction is not None)
    for name, gradient in gradients.items():
        total += of_gradients(gradient, targets.of(name, gradient[0]))
    return total
