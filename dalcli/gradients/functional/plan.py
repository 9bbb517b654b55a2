"""Which calls bring parameters and samples together, where the samples lie in them, and what is understood of them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise

from torch import Tensor

from dalcli.gradients.functional.record import Call, Seen, Shape, Slice

# Two, not one: with a single sample some tensors are contiguous by accident, and calls return what they were given.
FEW = 2
OPERATORS = ("add", "sub", "mul", "div", "truediv")
ELEMENTWISE = (
    frozenset({"true_divide", "pow", "maximum", "minimum"})
    | {form + name for name in OPERATORS for form in ("", "r", "i")}
    | {name + "_" for name in OPERATORS}
)
IN_PLACE = frozenset({"i" + name for name in OPERATORS} | {name + "_" for name in OPERATORS})
SPREADING = frozenset({"expand", "expand_as", "broadcast_to", "repeat"})
PRODUCTS = frozenset({"matmul", "rmatmul", "mm"})


class Kind(StrEnum):
    """What a call with a parameter, or something computed from parameters, does."""

    ALONE = "computes with parameters alone"
    LINEAR = "linear"
    PRODUCT = "matmul"
    ELEMENTWISE = "elementwise"
    SPREAD = "expand"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where samples lie: along ``axis``, in ``each`` positions per sample, one sample after the other if ``outer``.

    Otherwise the samples are innermost: first every sample's first position, then every sample's second.
    """

    axis: int
    each: int
    outer: bool

    def split(self, values: Tensor, samples: int) -> Tensor:
        """The axis in two, samples and positions of each sample, in the order in which they lie."""
        parts = (samples, self.each) if self.outer else (self.each, samples)
        return values.view(*values.shape[: self.axis], *parts, *values.shape[self.axis + 1 :])

    def by_sample(self, values: Tensor, samples: int) -> Tensor:
        """The samples moved to the front: (samples, each, ...)."""
        return self.split(values, samples).movedim(self.axis + (0 if self.outer else 1), 0)


@dataclass(frozen=True, slots=True)
class Step:
    """A call that takes parameters ``names``; ``index``: its place in the record, ``layout``: where its samples lie."""

    index: int
    function: str
    kind: Kind
    layout: Layout | None
    names: frozenset[str]


@dataclass(slots=True)
class Plan:
    """Steps in the order of the forward pass; ``kinds``: parameter -> the (last) call by which it meets samples."""

    steps: list[Step]
    kinds: dict[str, Kind]

    @property
    def names(self) -> frozenset[str]:
        """The parameters whose every use is understood."""
        return frozenset(self.kinds)


@dataclass(slots=True)
class Traces:
    """The records of ``FEW`` samples and of one more, and which calls were found to hold samples innermost."""

    few: Sequence[Call]
    more: Sequence[Call]
    roots: Mapping[int, str]
    innermost: set[int] = field(default_factory=set)

    @property
    def comparable(self) -> bool:
        """Whether both passes made the same calls on the same tensors."""
        return len(self.few) == len(self.more) and all(
            a.function == b.function
            and [seen.token for seen in (*a.inputs, *a.outputs)] == [seen.token for seen in (*b.inputs, *b.outputs)]
            for a, b in zip(self.few, self.more, strict=True)
        )


@dataclass(slots=True)
class _Use:
    """One way in which a parameter meets the samples."""

    outer_product: bool
    part: Slice | None


def make_plan(traces: Traces, candidates: Iterable[str]) -> Plan:
    """A plan for as many of the ``candidates`` as are understood; leaving one out may make others clearer."""
    names = frozenset(candidates)
    while True:
        plan, refused = _attempt(traces, names)
        if not refused:
            return plan
        names -= refused


def _attempt(traces: Traces, names: frozenset[str]) -> tuple[Plan, set[str]]:
    ancestors: dict[int, frozenset[str]] = {
        token: frozenset({name}) for token, name in traces.roots.items() if name in names
    }
    steps: list[Step] = []
    uses: dict[str, list[_Use]] = defaultdict(list)
    kinds: dict[str, Kind] = {}
    refused: set[str] = set()
    for index, (few, more) in enumerate(zip(traces.few, traces.more, strict=True)):
        tracked = [seen.token in ancestors for seen in few.inputs]
        if not any(tracked):
            continue
        involved = frozenset().union(*(ancestors.get(seen.token, frozenset()) for seen in few.inputs))
        if not _grew((*few.inputs, *few.outputs), (*more.inputs, *more.outputs)):
            if not few.outputs:  # an assignment: it changes its first argument
                ancestors[few.inputs[0].token] = involved
            for seen in few.outputs:
                ancestors[seen.token] = involved
            steps.append(Step(index, few.function, Kind.ALONE, None, involved))
            continue
        kind, layout = _understand(few, more, tracked, index not in traces.innermost)
        if kind is None or layout is None:
            refused |= involved
            continue
        steps.append(Step(index, few.function, kind, layout, involved))
        for position, (seen, is_tracked) in enumerate(zip(few.inputs, tracked, strict=True)):
            if is_tracked:
                outer_product = position == 1 and kind in {Kind.LINEAR, Kind.PRODUCT}
                part = seen.part if {seen.of} == ancestors[seen.token] else None
                for name in ancestors[seen.token]:
                    uses[name].append(_Use(outer_product, part))
                    kinds[name] = kind
    refused |= {name for name in names if not _summable(uses[name])}
    return Plan(steps, kinds), refused


def _grew(few: Sequence[Seen], more: Sequence[Seen]) -> bool:
    return any(a.shape != b.shape for a, b in zip(few, more, strict=True))


def _layout(few: Shape, more: Shape, outer: bool) -> Layout | None:
    """Where the samples lie in a tensor whose shapes in both traces are known; None if that is unclear."""
    axes = [axis for axis, (a, b) in enumerate(zip(few, more, strict=False)) if a != b]
    if len(few) != len(more) or len(axes) != 1 or few[axes[0]] * (FEW + 1) != more[axes[0]] * FEW:
        return None
    return Layout(axes[0], few[axes[0]] // FEW, outer)


def _understand(few: Call, more: Call, tracked: Sequence[bool], outer: bool) -> tuple[Kind | None, Layout | None]:
    if len(few.outputs) != 1 or len(few.inputs) > 3:
        return None, None
    into = _layout(few.inputs[0].shape, more.inputs[0].shape, outer)
    out = _layout(few.outputs[0].shape, more.outputs[0].shape, outer)
    rank = len(few.inputs[0].shape)
    if few.function == "linear" and into is not None and not tracked[0] and into.axis < rank - 1:
        return Kind.LINEAR, into
    if (
        few.function in PRODUCTS
        and into is not None
        and into.axis < rank - 1
        and tracked == [False, True]
        and len(few.inputs[1].shape) == 2
        and rank > 1
    ):
        return Kind.PRODUCT, into
    if few.function in SPREADING and out is not None and out.each == 1 and tracked[0] and not any(tracked[1:]):
        padded = (1,) * (len(few.outputs[0].shape) - rank) + few.inputs[0].shape
        if all(a in {1, b} for a, b in zip(padded, few.outputs[0].shape, strict=True)):
            return Kind.SPREAD, out
    if few.function in ELEMENTWISE and out is not None and len(tracked) == 2 and tracked[0] != tracked[1]:
        other = 0 if tracked[1] else 1
        layout = _layout(few.inputs[other].shape, more.inputs[other].shape, outer)
        same_place = layout is not None and len(few.inputs[other].shape) == len(few.outputs[0].shape)
        if same_place and layout == out and not (few.function in IN_PLACE and out.each > 1):
            return Kind.ELEMENTWISE, out
    return None, None


def _summable(ways: Sequence[_Use]) -> bool:
    """Outer products only on parts that coincide or do not touch; explicit gradients in any combination.

    Nothing is to be summed for a parameter that meets no samples, which is the fallback's business.
    """
    if not ways:
        return False
    if not any(use.outer_product for use in ways):
        return True
    parts = {use.part for use in ways}
    if None in parts or not all(use.outer_product for use in ways):
        return False
    ranges = sorted((part.offset, part.offset + math.prod(part.shape)) for part in parts if part is not None)
    return all(end <= start for (_, end), (start, _) in pairwise(ranges))
