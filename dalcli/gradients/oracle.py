"""The slow, plain reference: float64, one sample at a time, ordinary autograd. For self-checks and tests."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from dalcli.gradients.passes import logits_of


@dataclass(frozen=True, slots=True)
class ReferenceScores:
    """``sq_norm``, ``inner`` (n,) and ``probabilities`` (n, K) in float64, ``pseudo_label`` (n,)."""

    sq_norm: Tensor
    inner: Tensor
    probabilities: Tensor
    pseudo_label: Tensor


def reference_scores(model: nn.Module, inputs: Tensor, direction: Mapping[str, Tensor] | None) -> ReferenceScores:
    """‖g_u‖² and ⟨g_u, V⟩ over all trainable parameters; inputs (n, ...), V by parameter name.

    ``inner`` is zero without a direction.
    """
    double = _double(model)
    sq_norm, inner, probabilities, labels = [], [], [], []
    for sample in inputs:
        logits = logits_of(double(_as_double(sample[None]))).reshape(1, -1)
        label = logits.argmax(1)
        gradients = _gradients(double, logits, label)
        sq_norm.append(sum(float(gradient.square().sum()) for gradient in gradients.values()))
        inner.append(
            0.0
            if direction is None
            else sum(float((gradient * direction[name].double()).sum()) for name, gradient in gradients.items())
        )
        probabilities.append(logits.detach().softmax(1)[0])
        labels.append(label[0])
    return ReferenceScores(
        torch.tensor(sq_norm, dtype=torch.float64),
        torch.tensor(inner, dtype=torch.float64),
        torch.stack(probabilities),
        torch.stack(labels),
    )


def reference_labeled_gradient(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """G_S: the sum over all samples of the cross-entropy gradient for the true label, float64 by parameter name."""
    double = _double(model)
    total = {
        name: torch.zeros_like(parameter) for name, parameter in double.named_parameters() if parameter.requires_grad
    }
    for inputs, labels in batches:
        for sample, label in zip(inputs, labels, strict=True):
            logits = logits_of(double(_as_double(sample[None]))).reshape(1, -1)
            for name, gradient in _gradients(double, logits, label.reshape(1)).items():
                total[name] += gradient
    return total


def _double(model: nn.Module) -> nn.Module:
    return copy.deepcopy(model).double().eval()


def _as_double(inputs: Tensor) -> Tensor:
    return inputs.double() if inputs.is_floating_point() else inputs


def _gradients(model: nn.Module, logits: Tensor, label: Tensor) -> dict[str, Tensor]:
    """The gradient by parameter name; a parameter without influence is left out.

    The loss is softplus(logsumexp of the other logits − own logit), which autograd differentiates without
    cancellation however confident the sample is.
    """
    own = logits.gather(1, label[:, None])
    others = logits.scatter(1, label[:, None], -torch.inf).logsumexp(1, keepdim=True)
    named = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    if not named or not logits.requires_grad:
        return {}
    gradients = torch.autograd.grad(functional.softplus(others - own).sum(), list(named.values()), allow_unused=True)
    return {
        name: gradient.to_dense() if gradient.is_sparse else gradient
        for name, gradient in zip(named, gradients, strict=True)
        if gradient is not None
    }
