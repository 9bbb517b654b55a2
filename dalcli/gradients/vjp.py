"""Vector–Jacobian products by ordinary backward."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def vjp(outputs: Tensor, vector: Tensor, inputs: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
    """∂/∂inputs of Σ outputs · vector (of the outputs' shape); None for an input without influence.

    The gradient of a sum, whose seed is 1: given ``grad_outputs`` instead, torch imports sympy first, to say the same
    to the last bit half a second later.
    """
    weighted = (outputs * vector.to(outputs.dtype)).sum()
    found: tuple[Tensor | None, ...] = torch.autograd.grad(weighted, inputs, allow_unused=True)
    return found
