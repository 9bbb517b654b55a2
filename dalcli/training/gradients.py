"""The gradient of a batch that is spread over ranks: the sum of what each found, one exchange per step.

Not DistributedDataParallel: that rearranges its buckets after the first step, so that a resumed run would add in
another order than an uninterrupted one, and it averages where shares of unequal size need a sum.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, optim

from dalcli.runtime.ranks import Ranks


def sum_gradients(optimizer: optim.Optimizer, ranks: Ranks) -> None:
    """Replace the gradients of everything ``optimizer`` trains by their sums over ``ranks``; the same bits everywhere.

    A parameter that no rank used keeps no gradient, so that the optimizer leaves it alone, as with one process.
    """
    if ranks.size == 1:
        return
    kinds: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            kinds.setdefault((parameter.dtype, parameter.device), []).append(parameter)
    for parameters in kinds.values():
        _sum_flat(parameters, ranks)


def _sum_flat(parameters: Sequence[Tensor], ranks: Ranks) -> None:
    """One buffer: all gradients, then a number per parameter: how many ranks have used it."""
    sizes = [parameter.numel() for parameter in parameters]
    unused = [index for index, parameter in enumerate(parameters) if parameter.grad is None]
    uses = parameters[0].new_ones(len(parameters))
    uses[unused] = 0
    pieces = [
        p.new_zeros(size) if p.grad is None else p.grad.reshape(-1) for p, size in zip(parameters, sizes, strict=True)
    ]
    flat = torch.cat([*pieces, uses])
    ranks.sum([flat], soon=True)
    *summed, uses = torch.split(flat, [*sizes, len(parameters)])
    for parameter, gradient in zip(parameters, summed, strict=True):
        parameter.grad = gradient.view(parameter.shape)
    for index in unused:  # who has used all of them knows without looking, which waits for a GPU
        if float(uses[index]) == 0:
            parameters[index].grad = None
