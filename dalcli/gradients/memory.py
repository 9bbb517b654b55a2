"""How much memory a sample takes, and from it how many samples run at once."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from dalcli.gradients.passes import logits_of

CACHE_BYTES = 4 * 2**20
ACCELERATOR_CHUNK_BYTES = 256 * 2**20
PIECE_BYTES = 16 * 2**20
PIECE_PER_WEIGHT = 3


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


def favourable_samples(bytes_per_sample: int, weight_bytes: int, device: torch.device) -> int | None:
    """Samples beyond which a pass gets no faster, or None where more are always better.

    On a processor small activations stay in cache and in memory that is already mapped: a fresh page costs more to
    map than to fill. Every pass also lays out all weights for the convolutions, so activations should outweigh them.
    """
    if device.type != "cpu":
        return None
    return max(1, max(PIECE_BYTES, PIECE_PER_WEIGHT * weight_bytes) // max(1, bytes_per_sample))


def even_pieces(samples: int, most: int, lanes: int = 1) -> list[slice]:
    """As few slices over ``samples`` as hold at most ``most`` each, of nearly equal size, as many for every lane."""
    count = min(samples, -(-samples // (most * lanes)) * lanes)
    edges = [samples * index // count for index in range(count + 1)]
    return [slice(start, stop) for start, stop in itertools.pairwise(edges)]


def chunk_bytes(device: torch.device, limit_bytes: int) -> int:
    """Working memory of a rule: what a processor's cache holds, or enough to fill an accelerator."""
    return min(CACHE_BYTES if device.type == "cpu" else ACCELERATOR_CHUNK_BYTES, max(1, limit_bytes // 4))
