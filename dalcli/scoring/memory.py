"""How much memory a sample takes, and from it how many samples run at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dalcli.scoring.passes import logits_of

CACHE_BYTES = 4 * 2**20
ACCELERATOR_CHUNK_BYTES = 256 * 2**20


def activation_bytes(model: nn.Module, sample: Tensor) -> int:
    """Bytes that autograd keeps for the backward pass of one sample (1, ...), parameters not counted.

    Costs one forward pass of one sample.
    """
    sample = sample.clone()  # a slice would drag the storage of its whole batch along
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    sizes: dict[int, int] = {}
    alive: list[Tensor] = []  # an address must not be reused while it is a key

    def pack(saved: Tensor) -> Tensor:
        storage = saved.untyped_storage()
        if storage.data_ptr() not in own:
            sizes[storage.data_ptr()] = storage.nbytes()
            alive.append(saved)
        return saved

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        logits_of(model(sample))
    return sum(sizes.values()) + sample.nbytes


def samples_at_once(bytes_per_sample: int, limit_bytes: int) -> int:
    """Samples whose activations, with as much again for the layer at work, fit the limit; at least one."""
    return max(1, limit_bytes // max(1, 2 * bytes_per_sample))


def chunk_bytes(device: torch.device, limit_bytes: int) -> int:
    """Working memory of a rule: what a processor's cache holds, or enough to fill an accelerator."""
    return min(CACHE_BYTES if device.type == "cpu" else ACCELERATOR_CHUNK_BYTES, max(1, limit_bytes // 4))
