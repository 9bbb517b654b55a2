"""Does every rule agree with ordinary backward on this model and this shape of input?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dalcli.gradients.fallback import sample_gradients
from dalcli.gradients.rules import Contribution
from dalcli.gradients.scoring_pass import Outcome

SAMPLES = 2
RELATIVE, FLOOR = 1e-3, 1e-5
PART = 1 << 18


@dataclass(frozen=True, slots=True)
class Verdict:
    """``wrong``: assignees whose sums are off; ``mixed``: logits in a batch differ from those of a sample alone."""

    wrong: list[str]
    mixed: bool


def compare(
    model: nn.Module,
    trainable: Mapping[str, nn.Parameter],
    assigned: Mapping[str, Sequence[str]],
    inputs: Tensor,
    outcome: Outcome,
    direction: Mapping[str, Tensor],
) -> Verdict:
    """Hold each assignee's ‖·‖² and ⟨·, V⟩, sample by sample, against autograd's gradient of that sample alone.

    ``assigned`` maps an assignee to its parameters, ``outcome`` is that of a pass over ``inputs`` (n, ...). An assignee
    without a contribution counts as zero. Costs n forward and backward passes of one sample.
    """
    wrong: set[str] = set()
    mixed = False
    for index in range(inputs.shape[0]):
        seed = outcome.seeds[index : index + 1].to(outcome.logits.dtype)
        alone, gradients = sample_gradients(model, trainable, inputs[index : index + 1], seed)
        mixed |= not _alike(alone, outcome.logits[index])
        wrong |= _differing(gradients, assigned, outcome.contributions, index, direction)
        del gradients  # as large as the model: never those of two samples
    return Verdict(sorted(wrong), mixed)


def _differing(
    gradients: Mapping[str, Tensor],
    assigned: Mapping[str, Sequence[str]],
    found: Mapping[str, Contribution],
    index: int,
    direction: Mapping[str, Tensor],
) -> set[str]:
    """The assignees whose sums for one sample are not those of its ``gradients``."""
    wrong: set[str] = set()
    total = sum(_dot(gradient, gradient) for gradient in gradients.values())
    for assignee, names in assigned.items():
        sq_norm, inner, sq_length = _sums(gradients, names, direction)
        contribution = found.get(assignee)
        sq_found = 0.0 if contribution is None else float(contribution.sq_norm[index])
        inner_found = 0.0 if contribution is None or contribution.inner is None else float(contribution.inner[index])
        norm_allowed = RELATIVE * sq_norm + FLOOR * total
        inner_allowed = (RELATIVE * sq_norm**0.5 + FLOOR * total**0.5) * sq_length**0.5
        # Written so that NaN is wrong too.
        if not (abs(sq_found - sq_norm) <= norm_allowed and abs(inner_found - inner) <= inner_allowed):
            wrong.add(assignee)
    return wrong


def _alike(alone: Tensor, together: Tensor) -> bool:
    """Equal up to rounding; logits that are not finite (a broken model's) are so in any company."""
    scale = float(alone.nan_to_num(0.0, 0.0, 0.0).abs().max())
    return torch.allclose(alone, together, rtol=RELATIVE, atol=RELATIVE * scale, equal_nan=True)


def _sums(
    gradients: Mapping[str, Tensor], names: Sequence[str], direction: Mapping[str, Tensor]
) -> tuple[float, float, float]:
    """‖g‖², ⟨g, V⟩ and ‖V‖² over the parameters ``names``."""
    sq_norm = inner = sq_length = 0.0
    for name in names:
        wanted = direction[name]
        sq_length += _dot(wanted, wanted)
        if (gradient := gradients.get(name)) is not None:
            sq_norm += _dot(gradient, gradient)
            inner += _dot(gradient, wanted)
    return sq_norm, inner, sq_length


def _dot(left: Tensor, right: Tensor) -> float:
    """Σ left·right in float64, a part at a time: whole gradients in float64 would be the peak of memory."""
    pairs = zip(torch.split(left.reshape(-1), PART), torch.split(right.reshape(-1), PART), strict=True)
    return sum(float(torch.dot(one.double(), other.double())) for one, other in pairs)
