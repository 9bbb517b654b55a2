"""What a layer rule is, what is wanted of it, what it receives and returns, and the one registry of rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from dalcli.gradients.precision import widened
from dalcli.gradients.projection import Projection, Sketcher


class UnsupportedCallError(Exception):
    """A rule met a call it has no formula for (an odd shape, say): the parameters go to the fallback."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to make of a parameter's per-sample gradients besides norms.

    ``along``: V of the parameter's shape, for ⟨g_u, V⟩; ``projection``: for sketches. None: not wanted.
    """

    along: Tensor | None = None
    projection: Projection | None = None

    def part(self, offset: int, shape: tuple[int, ...]) -> Wanted | None:
        """The same for a run of the parameter's flat entries; None if a sketch cannot be had of it alone."""
        size = torch.Size(shape).numel()
        along = None if self.along is None else self.along.reshape(-1)[offset : offset + size].reshape(shape)
        if self.projection is None:
            return Wanted(along)
        columns = self.projection.column_places.shape[0]
        if offset % columns or shape[-1] != columns:
            return None
        return Wanted(along, self.projection.rows(offset // columns, size // columns))


NORMS_ONLY = Wanted()


@dataclass(frozen=True, slots=True)
class Targets:
    """What a scoring pass is to find besides norms: ``direction`` V by parameter name, for ⟨g_u, V⟩; ``sketcher``."""

    direction: Mapping[str, Tensor] | None = None
    sketcher: Sketcher | None = None

    def of(self, name: str, parameter: Tensor) -> Wanted:
        """What is wanted of the parameter ``name``."""
        if self.direction is None and self.sketcher is None:
            return NORMS_ONLY
        along = None if self.direction is None else self.direction[name]
        if self.sketcher is None:
            return Wanted(along)
        return Wanted(along, self.sketcher.projection(name, parameter.shape, parameter.device))


@dataclass(frozen=True, slots=True)
class LayerCall:
    """One use of one module in one forward pass over n samples.

    ``inputs`` (n, ...) is what the module read, ``gradient`` (n, ...) the gradient of the loss for what it
    returned. ``wanted`` has an entry for each of the module's own parameters to account for (frozen and shared ones
    are absent). Working memory beyond tensors of the size of the activations should stay near ``chunk_bytes``.
    """

    module: nn.Module
    inputs: Tensor
    gradient: Tensor
    wanted: Mapping[str, Wanted]
    chunk_bytes: int

    def nothing(self) -> Contribution:
        """Where a rule's sum begins."""
        with_inner = any(wanted.along is not None for wanted in self.wanted.values())
        return Contribution.zeros(self.inputs.shape[0], self.inputs.device, with_inner)


@dataclass(frozen=True, slots=True)
class Contribution:
    """What some parameters add: ``sq_norm`` (n,) to ‖g_u‖² and ``inner`` (n,) to ⟨g_u, V⟩, both float64.

    ``sketch`` (n, m) is what they add to the sketch of g_u, None for nothing.
    """

    sq_norm: Tensor
    inner: Tensor | None
    sketch: Tensor | None = None

    def __add__(self, other: Contribution) -> Contribution:
        inner = None if self.inner is None or other.inner is None else self.inner + other.inner
        sketches = [each.sketch for each in (self, other) if each.sketch is not None]
        sketch = sum(sketches[1:], sketches[0]) if sketches else None
        return Contribution(self.sq_norm + other.sq_norm, inner, sketch)

    @staticmethod
    def zeros(samples: int, device: torch.device, with_inner: bool) -> Contribution:
        """Nothing, for ``samples`` samples."""
        zero = torch.zeros(samples, dtype=torch.float64, device=device)
        return Contribution(zero, zero.clone() if with_inner else None)


def of_gradients(gradients: Tensor, wanted: Wanted) -> Contribution:
    """The contribution of explicit per-sample gradients (n, *shape) of one parameter."""
    rows = widened(gradients.reshape(gradients.shape[0], -1))
    sq_norm = torch.linalg.vector_norm(rows, dim=1).double().square()
    inner = None if wanted.along is None else (rows @ wanted.along.reshape(-1)).double()
    return Contribution(sq_norm, inner, None if wanted.projection is None else wanted.projection.of_gradients(rows))


class Rule(Protocol):
    """Exact per-sample gradient sums of one family of layers.

    The result for one sample must depend on that sample alone, up to rounding: choices between ways to compute
    may look at shapes per sample, never at n. A rule with ``narrow = True`` takes inputs and gradients in bfloat16,
    both, under ``scoring.precision: bfloat16``; others get float32 or better.
    """

    parameter_names: frozenset[str]

    def supports(self, module: nn.Module) -> bool:
        """Whether the formula holds for this instance (its options, not its inputs)."""
        ...

    def contributions(self, call: LayerCall) -> Contribution:
        """‖·‖², ⟨·, V⟩ and sketches over ``call.wanted``; raises :class:`UnsupportedCallError`."""
        ...


Family = type[nn.Module] | str
_RULES: dict[Family, Rule] = {}
RuleType = TypeVar("RuleType", bound=type[Rule])


def register(*families: Family) -> Callable[[RuleType], RuleType]:
    """Class decorator: instances of ``families`` are handled by this rule. Registering a family twice is an error.

    A layer of another package goes by its name, so that nobody has to import that package who does not use it.
    """

    def enter(rule_type: RuleType) -> RuleType:
        rule = rule_type()
        for family in families:
            if family in _RULES:
                name = family if isinstance(family, str) else family.__name__
                raise ValueError(f"{name} already has the rule {type(_RULES[family]).__name__}")
            _RULES[family] = rule
        return rule_type

    return enter


def rule_for(module: nn.Module) -> Rule | None:
    """The rule for ``module``, or None.

    A subclass is only the same layer while it inherits ``forward`` (and, for convolutions, the helper it calls).
    """
    kind = type(module)
    for base in kind.__mro__:
        rule = _RULES.get(base) or _RULES.get(f"{base.__module__}.{base.__qualname__}")
        if rule is not None:
            same = all(
                getattr(kind, method, None) is getattr(base, method, None) for method in ("forward", "_conv_forward")
            )
            return rule if same and rule.supports(module) else None
    return None
