"""A scoring pass in which calls with parameters hand over their per-sample gradients, as planned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from dalcli.gradients.anchors import anchored, source
from dalcli.gradients.functional.calls import CallWatcher, name_of, tensors_in
from dalcli.gradients.functional.plan import Kind, Layout, Plan, Step
from dalcli.gradients.functional.record import slice_of
from dalcli.gradients.functional.sums import Gathered, total
from dalcli.gradients.rules.base import Contribution, Targets


class Interception(CallWatcher):
    """Active during one forward pass over ``samples`` samples; ask for ``contributions`` after the backward pass.

    A pass that does other calls than planned leaves ``failure`` set, and none of its sums may be used. What the
    model computes is the same in either case.
    """

    def __init__(self, plan: Plan, parameters: Mapping[str, nn.Parameter], samples: int, leaf: Tensor) -> None:
        super().__init__()
        self.failure: str | None = None
        self._plan = plan
        self._parameters = {name: parameters[name] for name in sorted(plan.names)}
        self._samples = samples
        self._leaf = leaf
        self._next = 0
        self._gathered = Gathered()
        self._tracked: dict[int, tuple[Tensor, frozenset[str]]] = {
            id(value): (value, frozenset({name})) for name, value in self._parameters.items()
        }

    def contributions(self, targets: Targets, chunk_bytes: int, device: torch.device) -> dict[str, Contribution]:
        """‖·‖² and the ``targets`` by parameter name; missing is what torch could not vectorise."""
        return total(self._gathered, self._parameters, self._samples, device, targets, chunk_bytes)

    @property
    def names(self) -> frozenset[str]:
        """The parameters that the plan accounts for."""
        return self._plan.names

    def called(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Make the call; hand over a gradient where it was planned."""
        given = list(tensors_in((args, kwargs)))
        if self.failure is not None or not any(id(value) in self._tracked for value in given):
            return func(*args, **kwargs)
        return self._met(func, given, args, kwargs)

    def _met(self, func: Callable[..., Any], given: list[Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call that takes something tracked."""
        names = frozenset().union(*(self._tracked[id(value)][1] for value in given if id(value) in self._tracked))
        step = self._plan.steps[self._next] if self._next < len(self._plan.steps) else None
        planned = step is not None and step.function == name_of(func) and step.names == names
        if step is None or not planned or step.kind is Kind.ALONE:
            result = func(*args, **kwargs)
            made = list(tensors_in(result)) or (given[:1] if name_of(func) == "setitem" else [])
            if made and not planned:
                self.failure = f"its use in {name_of(func)} was not planned"
            elif made:
                self._next += 1
                self._tracked.update({id(value): (value, names) for value in made})
            return result
        self._next += 1
        return self._site(step, func, given, args, kwargs) if torch.is_grad_enabled() else func(*args, **kwargs)

    def _site(
        self, step: Step, func: Callable[..., Any], given: list[Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """A call in which parameters and samples meet."""
        layout = step.layout
        assert layout is not None
        if step.kind is Kind.SPREAD:
            return self._spread(layout, func, given[0], args, kwargs)
        own = next(index for index, value in enumerate(given) if id(value) in self._tracked)
        sampled = given[0] if step.kind is not Kind.ELEMENTWISE else given[1 - own]
        if sampled.dim() <= layout.axis or sampled.shape[layout.axis] != self._samples * layout.each:
            self.failure = "samples do not lie where they were expected"
            return func(*args, **kwargs)
        if step.kind is Kind.ELEMENTWISE:
            return self._elementwise(layout, func, given[own], sampled, args, kwargs)
        return self._multiplied(step, layout, func, given, args, kwargs)

    def _multiplied(
        self,
        step: Step,
        layout: Layout,
        func: Callable[..., Any],
        given: list[Tensor],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """x Wᵀ + b or x W: outer products for the weight, sums over positions for the bias."""
        inputs = given[0].detach()
        version = inputs._version
        detached = {id(value): value.detach() for value in given[1:] if id(value) in self._tracked}

        def report(gradient: Tensor) -> None:
            delta = layout.by_sample(gradient, self._samples).flatten(1, -2)
            for position, value in enumerate(given[1:]):
                if id(value) not in self._tracked:
                    continue
                names = self._tracked[id(value)][1]
                if position == 1:
                    self._gathered.add_explicit(value, names, self._parameters, delta.sum(1))
                    continue
                (name,) = names
                part = slice_of(value, self._parameters[name])
                assert part is not None
                if inputs._version != version:
                    self.failure = "its input was overwritten in place"
                    return
                read = layout.by_sample(inputs, self._samples).flatten(1, -2)
                pair = (read, delta) if step.kind is Kind.LINEAR else (delta, read)
                self._gathered.add_outer(name, part, *pair)

        return anchored(func(*_swapped(args, detached), **_swapped(kwargs, detached)), self._leaf, report)

    def _elementwise(
        self,
        layout: Layout,
        func: Callable[..., Any],
        value: Tensor,
        sampled: Tensor,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Every sample gets a copy of the value of its own (a view), whose gradient is then that sample's alone."""
        axis, own = layout.axis, layout.axis if layout.outer or layout.each == 1 else layout.axis + 1
        copies = value.detach().reshape((1,) * (sampled.dim() - value.dim()) + value.shape)
        swap: dict[int, Tensor] = {}
        if layout.each > 1:
            copies = copies.unsqueeze(axis)
            swap[id(sampled)] = layout.split(sampled, self._samples)
        shape = list(copies.shape)
        shape[own] = self._samples

        def report(gradient: Tensor) -> None:
            rows = gradient.movedim(own, 0).reshape(self._samples, *value.shape)
            self._gathered.add_explicit(value, self._tracked[id(value)][1], self._parameters, rows)

        swap[id(value)] = source(copies.expand(shape), self._leaf, report)
        result = func(*_swapped(args, swap), **_swapped(kwargs, swap))
        return result if layout.each == 1 else result.flatten(axis, axis + 1)

    def _spread(
        self, layout: Layout, func: Callable[..., Any], value: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """One copy for each sample, made by the model itself."""
        detached = {id(value): value.detach()}
        result = func(*_swapped(args, detached), **_swapped(kwargs, detached))
        if result.shape[layout.axis] != self._samples:
            self.failure = "samples do not lie where they were expected"
            return func(*args, **kwargs)
        padded = (1,) * (result.dim() - value.dim()) + value.shape
        repeated = [axis for axis, side in enumerate(padded) if side == 1 and axis != layout.axis]

        def report(gradient: Tensor) -> None:
            rows = gradient.sum(repeated, keepdim=True) if repeated else gradient
            rows = rows.movedim(layout.axis, 0).reshape(self._samples, *value.shape)
            self._gathered.add_explicit(value, self._tracked[id(value)][1], self._parameters, rows)

        return source(result, self._leaf, report)


def _swapped(values: Any, swap: Mapping[int, Tensor]) -> Any:
    """Arguments with some tensors replaced."""
    if isinstance(values, dict):
        return {key: swap.get(id(value), value) for key, value in values.items()}
    return tuple(swap.get(id(value), value) for value in values)
