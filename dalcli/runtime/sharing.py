"""What rank 0 has, given to the other ranks: named tensors, and tensors in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from pydantic import TypeAdapter
from torch import Tensor

from dalcli.runtime.ranks import Ranks

_KINDS: TypeAdapter[dict[str, tuple[str, tuple[int, ...]]]] = TypeAdapter(dict[str, tuple[str, tuple[int, ...]]])
"""Name → dtype, shape."""


def share(tensors: Mapping[str, Tensor], ranks: Ranks) -> dict[str, Tensor]:
    """Rank 0's ``tensors``, on the processor; the others' are ignored. To be called by all."""
    own = {name: (str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape)) for name, tensor in tensors.items()}
    kinds = _KINDS.validate_python(ranks.broadcast(_KINDS.dump_python(own, mode="json")))
    if ranks.main:
        shared = {name: tensors[name].detach().cpu() for name in kinds}
    else:
        shared = {name: torch.empty(shape, dtype=getattr(torch, dtype)) for name, (dtype, shape) in kinds.items()}
    copy_from_main(list(shared.values()), ranks)
    return shared


def copy_from_main(tensors: Sequence[Tensor], ranks: Ranks) -> None:
    """Overwrite ``tensors`` on every rank by rank 0's, bit for bit; shapes and types must agree."""
    if ranks.size == 1 or not tensors:
        return
    flat = torch.cat([_bytes(tensor) for tensor in tensors])  # whatever the types and devices
    ranks.share([flat])
    if ranks.main:
        return
    with torch.no_grad():
        for tensor, values in zip(tensors, torch.split(flat, [tensor.nbytes for tensor in tensors]), strict=True):
            tensor.copy_(values.clone().view(tensor.dtype).view(tensor.shape))  # a copy is aligned as its type needs


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous().view(-1).view(torch.uint8)
