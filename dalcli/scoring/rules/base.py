"""What a layer rule is, what it receives and what it returns, and the one registry of rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn


class UnsupportedCallError(Exception):
    """A rule met a call it has no formula for (an odd shape, say): the parameters go to the fallback."""


@dataclass(frozen=True, slots=True)
class LayerCall:
    """One use of one module in one forward pass over n samples.

    ``inputs`` (n, ...) is what the module read, ``gradient`` (n, ...) the gradient of the loss for what it
    returned. ``names`` are the module's own parameters to account for (frozen and shared ones are absent) and
    ``direction`` holds, under the same names, the components of V for ⟨g_u, V⟩. Working memory beyond tensors of
    the size of the activations should stay near ``chunk_bytes``.
    """

    module: nn.Module
    inputs: Tensor
    gradient: Tensor
    names: frozenset[str]
    direction: Mapping[str, Tensor] | None
    chunk_bytes: int

    def along(self, name: str) -> Tensor | None:
        """V for the parameter ``name``, or None when only norms are wanted."""
        return None if self.direction is None else self.direction[name]


@dataclass(frozen=True, slots=True)
class Contribution:
    """What some parameters add: ``sq_norm`` (n,) to ‖g_u‖² and ``inner`` (n,) to ⟨g_u, V⟩, both float64."""

    sq_norm: Tensor
    inner: Tensor | None

    def __add__(self, other: Contribution) -> Contribution:
        if self.inner is None or other.inner is None:
            return Contribution(self.sq_norm + other.sq_norm, None)
        return Contribution(self.sq_norm + other.sq_norm, self.inner + other.inner)

    @staticmethod
    def zeros(samples: int, device: torch.device, with_inner: bool) -> Contribution:
        """Nothing, for ``samples`` samples."""
        zero = torch.zeros(samples, dtype=torch.float64, device=device)
        return Contribution(zero, zero.clone() if with_inner else None)


def of_gradients(gradients: Tensor, along: Tensor | None) -> Contribution:
    """The contribution of explicit per-sample gradients (n, *shape) of one parameter; V has that shape."""
    rows = gradients.reshape(gradients.shape[0], -1)
    sq_norm = torch.linalg.vector_norm(rows, dim=1).double().square()
    return Contribution(sq_norm, None if along is None else (rows @ along.reshape(-1)).double())


class Rule(Protocol):
    """Exact per-sample gradient sums of one family of layers.

    The result for one sample must depend on that sample alone, up to rounding: choices between ways to compute
    may look at shapes per sample, never at n.
    """

    parameter_names: frozenset[str]

    def supports(self, module: nn.Module) -> bool:
        """Whether the formula holds for this instance (its options, not its inputs)."""
        ...

    def contributions(self, call: LayerCall) -> Contribution:
        """‖·‖² and ⟨·, V⟩ over ``call.names``; raises :class:`UnsupportedCallError`."""
        ...


_RULES: dict[type[nn.Module], Rule] = {}
RuleType = TypeVar("RuleType", bound=type[Rule])


def register(*families: type[nn.Module]) -> Callable[[RuleType], RuleType]:
    """Class decorator: instances of ``families`` are handled by this rule. Registering a family twice is an error."""

    def enter(rule_type: RuleType) -> RuleType:
        rule = rule_type()
        for family in families:
            if family in _RULES:
                raise ValueError(f"{family.__name__} already has the rule {type(_RULES[family]).__name__}")
            _RULES[family] = rule
        return rule_type

    return enter


def rule_for(module: nn.Module) -> Rule | None:
    """The rule for ``module``, or None.

    A subclass is only the same layer while it inherits ``forward`` (and, for convolutions, the helper it calls).
    """
    kind = type(module)
    for base in kind.__mro__:
        rule = _RULES.get(base)
        if rule is not None:
            same = all(
                getattr(kind, method, None) is getattr(base, method, None) for method in ("forward", "_conv_forward")
            )
            return rule if same and rule.supports(module) else None
    return None
