"""Per-sample gradients of parameters that meet the samples in one or more calls, summed before squaring."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from dalcli.gradients.functional.record import Slice, slice_of
from dalcli.gradients.pieces import joined
from dalcli.gradients.precision import widened
from dalcli.gradients.rules.base import Contribution, Targets, Wanted, of_gradients
from dalcli.gradients.rules.linear import outer_products
from dalcli.gradients.rules.sums import chunks, in_chunks
from dalcli.runtime.memory import is_out_of_memory


@dataclass(slots=True)
class Gathered:
    """What arrived in one backward pass, by parameter."""

    outer: dict[str, dict[Slice, list[tuple[Tensor, Tensor]]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    plain: dict[str, list[tuple[Slice, Tensor]]] = field(default_factory=lambda: defaultdict(list))
    computed: list[tuple[Tensor, frozenset[str], Tensor]] = field(default_factory=list)

    def add_outer(self, name: str, part: Slice, inputs: Tensor, gradient: Tensor) -> None:
        """Σ_t δ_t a_tᵀ for a part (O, I): inputs (n, T, I), gradient (n, T, O)."""
        self.outer[name][part].append((widened(inputs), widened(gradient)))

    def add_explicit(
        self, value: Tensor, names: frozenset[str], parameters: Mapping[str, nn.Parameter], gradient: Tensor
    ) -> None:
        """Gradients (n, *shape) for ``value``, which is a part of a parameter or was computed from ``names``."""
        gradient = widened(gradient)
        if len(names) == 1:
            (name,) = names
            part = slice_of(value, parameters[name])
            if part is not None:
                self.plain[name].append((part, gradient.reshape(gradient.shape[0], -1)))
                return
        if value.requires_grad:  # else it was computed with gradients switched off
            self.computed.append((value, names, gradient))


def total(
    gathered: Gathered,
    parameters: Mapping[str, nn.Parameter],
    samples: int,
    device: torch.device,
    targets: Targets,
    chunk_bytes: int,
) -> dict[str, Contribution]:
    """‖·‖² and the ``targets`` by parameter name; a parameter that nothing arrived for counts as zero.

    Missing are parameters whose own graph torch cannot vectorise.
    """
    found = {name: Contribution.zeros(samples, device, targets.direction is not None) for name in parameters}
    for name, parts in gathered.outer.items():
        for part, uses in parts.items():
            inputs, gradient = (_along_positions([use[side] for use in uses]) for side in (0, 1))
            wanted = targets.of(name, parameters[name]).part(part.offset, part.shape)
            if wanted is None:
                found[name] += _instantiated(
                    part, inputs, gradient, parameters[name], targets.of(name, parameters[name]), chunk_bytes
                )
            else:
                found[name] += outer_products(inputs, gradient, wanted, chunk_bytes)
    by_computing = frozenset().union(*(names for _, names, _ in gathered.computed))
    for name in gathered.plain.keys() - by_computing:
        gradient = _whole(gathered.plain[name], parameters[name].numel())
        found[name] += of_gradients(gradient, targets.of(name, parameters[name]))
    if by_computing:
        chosen = {name: parameters[name] for name in sorted(by_computing)}
        try:
            found |= _through_graph(gathered, chosen, samples, targets, chunk_bytes)
        except Exception as error:  # vmap refuses in many ways
            if is_out_of_memory(error):
                raise
            return {name: value for name, value in found.items() if name not in chosen}
    return found


def _along_positions(values: Sequence[Tensor]) -> Tensor:
    """Uses of one weight are further positions of one layer."""
    return values[0] if len(values) == 1 else torch.cat(list(values), dim=1)


def _instantiated(
    part: Slice, inputs: Tensor, gradient: Tensor, parameter: Tensor, wanted: Wanted, chunk_bytes: int
) -> Contribution:
    """The contribution of Σ_t δ_t a_tᵀ for a part whose rows are not rows of the parameter, which sketches need."""

    def some(piece: slice) -> Contribution:
        products = (gradient[piece].mT @ inputs[piece]).flatten(1)
        return of_gradients(_whole([(part, products)], parameter.numel()), wanted)

    return in_chunks(inputs.shape[0], 2 * parameter.nbytes, chunk_bytes, some)


def _whole(parts: Sequence[tuple[Slice, Tensor]], size: int) -> Tensor:
    """The gradient (n, size) of a parameter from those of its parts, which may overlap."""
    if len(parts) == 1 and parts[0][1].shape[1] == size:
        return parts[0][1]
    whole = parts[0][1].new_zeros(parts[0][1].shape[0], size)
    for part, gradient in parts:
        whole[:, part.offset : part.offset + gradient.shape[1]] += gradient
    return whole


def _through_graph(
    gathered: Gathered,
    parameters: Mapping[str, nn.Parameter],
    samples: int,
    targets: Targets,
    chunk_bytes: int,
) -> dict[str, Contribution]:
    """Gradients for what was computed from parameters alone, carried on to the parameters for many samples at once.

    The graph between is the same for every sample, so this is one vectorised vector-Jacobian product.
    """
    names = list(parameters)
    values = [value for value, _, _ in gathered.computed]
    per_sample = 4 * sum(value.nbytes for value in (*values, *parameters.values()))
    pieces: dict[str, list[Contribution]] = {name: [] for name in names}
    for piece in chunks(samples, per_sample, chunk_bytes):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch announces operations that it loops over
            found = torch.autograd.grad(
                values,
                list(parameters.values()),
                [gradient[piece].to(value.dtype).contiguous() for value, _, gradient in gathered.computed],
                retain_graph=True,
                allow_unused=True,
                is_grads_batched=True,
            )
        for name, through in zip(names, found, strict=True):
            rows = (
                [(slice_of(parameters[name], parameters[name]), through.reshape(through.shape[0], -1))]
                if through is not None
                else []
            )
            rows += [(part, gradient[piece]) for part, gradient in gathered.plain.get(name, [])]
            whole = _whole([(part, gradient) for part, gradient in rows if part is not None], parameters[name].numel())
            pieces[name].append(of_gradients(whole, targets.of(name, parameters[name])))
    return {name: joined(parts) for name, parts in pieces.items()}
