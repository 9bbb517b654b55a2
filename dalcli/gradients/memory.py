"""How much memory a sample takes, and from it how many samples run at once."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from dalcli.gradients.passes import evaluating, logits_of, shape_of
from dalcli.gradients.replicas import Replica

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


class Footprint:
    """How much memory a model's passes take, so that pieces fit: measured once per shape of input, and kept."""

    def __init__(self, own: Replica) -> None:
        self._own = own
        self._activations: dict[tuple[object, ...], int] = {}
        self.weight_bytes = sum(parameter.nbytes for parameter in own.parameters.values())

    def bytes_of(self, inputs: Tensor) -> int:
        """Activation bytes of one sample of inputs (n, ...)."""
        key = shape_of(inputs)
        if key not in self._activations:
            with evaluating(self._own.model):
                self._activations[key] = activation_bytes(self._own.model, self._own.prepared(inputs[:1]))
        return self._activations[key]


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


def even_pieces(samples: int, most: int, replicas: int = 1) -> list[slice]:
    """As few slices over ``samples`` as hold at most ``most`` each, of nearly equal size, as many for every replica."""
    count = min(samples, -(-samples // (most * replicas)) * replicas)
    edges = [samples * index // count for index in range(count + 1)]
    return [slice(start, stop) for start, stop in itertools.pairwise(edges)]


def chunk_bytes(device: torch.device, limit_bytes: int) -> int:
    """Working memory of a rule: what a processor's cache holds, or enough to fill an accelerator."""
    return min(CACHE_BYTES if device.type == "cpu" else ACCELERATOR_CHUNK_BYTES, max(1, limit_bytes // 4))
