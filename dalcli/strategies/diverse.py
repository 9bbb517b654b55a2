"""Sets chosen jointly: candidates → a space in which they are points → a picker that spreads over it.

Each part is exchangeable: BADGE is all samples, last-layer gradients, k-means++; cluster-margin is the samples of the
smallest margins, features, turns over clusters. What a picker leaves over, because nothing it knows of tells the rest
apart (all points equal, say), is filled up in the order of the acquisition if there is one, else at random.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from dalcli.scores.columns import Array, Digests, Floats
from dalcli.scores.samples import SampleSet
from dalcli.scores.table import ScoreBlock
from dalcli.strategies.base import Acquisition, Request, Selection, Strategy
from dalcli.strategies.gather import chunks, gather, keyed_order, row_bytes
from dalcli.strategies.points import Points, blocks
from dalcli.strategies.selection import TopValues
from dalcli.strategies.spaces import Mapped, Space

Rows = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class PickTask:
    """What a picker gets.

    Attributes:
        points: the candidates, n of them in an order that the seed determines; the first of equals is to win.
        size: how many are wanted, at most n.
        values: (n,) float64 of the acquisition, never NaN; None without one.
        known: the points to keep away from, some at a time; may be called again.
        generator: for random draws.
    """

    points: Points
    size: int
    values: Floats | None
    known: Callable[[], Iterator[Points]]
    generator: np.random.Generator


class Picker(Protocol):
    """A way to spread picks over points."""

    def pick(self, task: PickTask) -> Rows:
        """At most ``task.size`` different rows, first choice first; fewer where nothing tells the rest apart."""
        ...


@dataclass(frozen=True)
class Shortlist:
    """Only the ``factor`` × budget best of ``chooser`` are candidates; without one, the whole pool is."""

    chooser: Strategy
    factor: float = 10.0

    def __post_init__(self) -> None:
        if not self.factor >= 1:
            raise ValueError(f"a shortlist has at least as many candidates as are chosen, not {self.factor} times")


@dataclass(frozen=True)
class Measured:
    """The same value for every sample, NaN where one of ``columns`` (n,) is not finite: prescreened away, say."""

    columns: tuple[str, ...] = ()

    def values(self, block: ScoreBlock, request: Request) -> Floats:
        values = np.ones(len(block))
        for column in self.columns:
            values[~np.isfinite(block[column])] = np.nan
        return values


@dataclass(frozen=True)
class Diverse:
    """The strategy composed of those parts.

    Memory: the space's columns for the candidates (at most ``request.memory_limit``), 128 MiB of known samples at a
    time, and what the picker's docstring says. Of more candidates than fit, or than ``most``, the best by shortlist or
    acquisition stand for all, or a random subset; the selection's notes say so.
    """

    space: Space
    picker: Picker
    acquisition: Acquisition | None = None
    shortlist: Shortlist | None = None
    apart_from: Literal["known", "in flight", "nothing"] = "nothing"
    most: int | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        chooser = () if self.shortlist is None else self.shortlist.chooser.columns
        return tuple(dict.fromkeys((*chooser, *self._gathered)))

    @property
    def _gathered(self) -> tuple[str, ...]:
        valued = () if self.acquisition is None else self.acquisition.columns
        return tuple(dict.fromkeys((*valued, *self.space.columns)))

    def select(self, request: Request) -> Selection:
        if request.size == 0:
            return Selection(np.empty((0, 16), np.uint8))
        digests, notes = self._candidates(request)
        arrays = gather(request, digests, self._gathered)
        values = None if self.acquisition is None else _values(self.acquisition, digests, arrays, request)
        picked, unusable = self._pick(request, arrays, values)
        rest = in_fill_order(len(digests), picked, unusable, values)
        chosen = np.concatenate([picked, rest])[: request.size]
        undefined = unusable if values is None else unusable | np.isnan(values)
        return Selection(
            digests[chosen], None if values is None else values[chosen], int(np.count_nonzero(undefined)), notes
        )

    def _candidates(self, request: Request) -> tuple[Digests, tuple[str, ...]]:
        eligible, size = len(request.eligible), request.size
        fitting = max(size, request.memory_limit // row_bytes(request, self._gathered))
        wanted = eligible if self.shortlist is None else min(eligible, int(self.shortlist.factor * size))
        count = min(wanted, fitting if self.most is None else min(fitting, max(size, self.most)))
        notes: tuple[str, ...] = ()
        if count == eligible:
            return keyed_order(request, request.eligible), notes
        if count < wanted:
            kind = "a random" if self.shortlist is None and self.acquisition is None else "the best"
            limit = "query.memory_limit" if count == fitting else "what this strategy compares"
            notes = (f"{kind} {count} of {wanted} candidates were considered: more exceed {limit}",)
        best = self._chooser.select(replace(request, budget=count))
        return keyed_order(request, SampleSet(best.digests)), notes

    @property
    def _chooser(self) -> Strategy:
        """What decides who are the candidates if not all are: at random, but whoever has exact gradients first."""
        if self.shortlist is not None:
            return self.shortlist.chooser
        return TopValues(self.acquisition or Measured(tuple({"grad_sq_norm"} & set(self.space.columns))))

    def _pick(
        self, request: Request, arrays: dict[str, Array], values: Floats | None
    ) -> tuple[Rows, NDArray[np.bool_]]:
        """What the picker takes, as rows of ``arrays``, and which rows have no point (n,)."""
        count = len(next(iter(arrays.values())))
        points, rows = mapped(self.space, arrays)
        unusable = np.ones(count, bool)
        unusable[rows] = False
        if values is not None and np.isnan(values[rows]).any():
            defined = np.flatnonzero(~np.isnan(values[rows]))
            points, rows = points.take(defined), rows[defined]
        if not len(rows):
            return rows, unusable
        task = PickTask(
            points,
            min(request.size, len(rows)),
            None if values is None else values[rows],
            lambda: self._known(request),
            request.generator("selection"),
        )
        return rows[self.picker.pick(task)], unusable

    def _known(self, request: Request) -> Iterator[Points]:
        samples = {"known": request.known, "in flight": request.in_flight, "nothing": SampleSet.EMPTY}[self.apart_from]
        for columns in chunks(request, samples, self.space.columns):
            points, _ = mapped(self.space, columns)
            if len(points):
                yield points


def mapped(space: Space, arrays: Mapping[str, Array]) -> Mapped:
    """The points of ``arrays``; rows with NaN and inf are expected there, and left out."""
    with np.errstate(invalid="ignore", over="ignore"):
        return space.points(arrays)


def _values(acquisition: Acquisition, digests: Digests, arrays: Mapping[str, Array], request: Request) -> Floats:
    """The value of every row, block by block: some acquisitions need a multiple of their columns' memory."""
    values = np.empty(len(digests))
    for rows in blocks(len(digests)):
        block = ScoreBlock(digests[rows], {name: arrays[name][rows] for name in acquisition.columns})
        values[rows] = acquisition.values(block, request)
    return values


def in_fill_order(count: int, picked: Rows, unusable: NDArray[np.bool_], values: Floats | None) -> Rows:
    """The rows not picked: those with points first, then by value, NaN last, then as they come."""
    left = np.ones(count, bool)
    left[picked] = False
    rows = np.flatnonzero(left)
    if values is None:
        return rows[np.argsort(unusable[rows], kind="stable")]
    return rows[np.lexsort((-values[rows], np.isnan(values[rows]), unusable[rows]))]
