"""Uncertainty herding: represent what the model is unsure about (Bae, Oliveira & Sutherland, ICLR 2025).

Greedy maximisation of Σ_x u(x) · max_{s ∈ S ∪ Q} k(x, s) over the unlabeled pool: MaxHerding with every sample weighed
by its margin score u. The kernel's width follows the labels, from wide to narrow: with few labels a batch covers the
pool as ``maxherding`` does, with many it asks for the closest calls as ``margin`` does: one method from the first
labels to the last. The paper also calibrates u by a temperature: left out, for it gained nothing that could be measured
(docs/strategies.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dalcli.scores.columns import Digests, Floats
from dalcli.scores.samples import SampleSet
from dalcli.strategies.base import Request, Selection, unscored
from dalcli.strategies.coverage import Coverage, OwnWeights, median_sq_distance
from dalcli.strategies.diverse import Rows, in_fill_order, mapped
from dalcli.strategies.gather import chunks, gather, keyed_order, row_bytes
from dalcli.strategies.margin import Margin
from dalcli.strategies.nearest import Nearest
from dalcli.strategies.points import Points
from dalcli.strategies.selection import Best
from dalcli.strategies.spaces import Features

_SPACE = Features(unit=True)
_EXACT = 8192
_REPRESENTATIVES = 4096
_CANDIDATES = 16384
_MEASURED = 2048


@dataclass(frozen=True, eq=False)
class _Compared:
    """The samples that are compared, in the order of their keys.

    Attributes:
        digests: (n, 16) uint8.
        uncertainty: (n,) u; NaN without a prediction.
        weights: (n,) how much of the pool's uncertainty each stands for; 0 for candidates that stand for nobody.
        whole: whether they are the pool, each standing for itself.
        notes: what is left out, if anything.
        undefined: how many of the pool have no u.
    """

    digests: Digests
    uncertainty: Floats
    weights: Floats
    whole: bool
    notes: tuple[str, ...]
    undefined: int


@dataclass(frozen=True)
class UncertaintyHerding:
    """k(x, s) = exp(−‖x − s‖²/σ²) on features of length 1, u = 1 − margin.

    σ is the median over labeled and in-flight samples of the distance to the nearest other one (over 2,048 of them,
    drawn by the seed, if there are more); with fewer than two, or where most coincide, half the median distance in the
    pool.

    Of at most ``exact`` samples all pairs are compared. Of more, ``representatives`` stand for the pool: a priority
    sample (Duffield, Lund & Thorup, JACM 2007) in proportion to u, whose weights max(u, τ) estimate every sum over the
    pool without bias. Candidates are these and the highest u; what a pick gains at itself counts by its true u, so that
    a narrow kernel takes the highest u whatever the sample.

    Memory: the candidates' features, and 4 bytes for each pair of a candidate and a representative: together at most
    ``request.memory_limit`` unless the batch alone needs more, and at most 256 MiB of kernel values whatever the pool.
    """

    exact: int = 8192
    representatives: int = 4096
    candidates: int = 16384
    columns: tuple[str, ...] = ("probabilities", "features")

    def select(self, request: Request) -> Selection:
        if request.size == 0:
            return Selection(np.empty((0, 16), np.uint8))
        compared = self._compared(request)
        picked, unusable = _pick(request, compared)
        rest = in_fill_order(len(compared.digests), picked, unusable, compared.uncertainty)
        chosen = np.concatenate([picked, rest])[: request.size]
        pointless = int(np.count_nonzero(unusable & ~np.isnan(compared.uncertainty)))
        values = compared.uncertainty[chosen]
        return Selection(compared.digests[chosen], values, compared.undefined + pointless, compared.notes)

    def _compared(self, request: Request) -> _Compared:
        pool, size = len(request.eligible), request.size
        bytes_each = row_bytes(request, _SPACE.columns)
        if pool <= self.exact and pool * (bytes_each + 4 * pool) <= request.memory_limit:
            return _merged(request, *_best(request, pool, 0), 0, ())
        most = max(size, min(self.candidates, request.memory_limit // (bytes_each + 4 * self.representatives)))
        drawn = min(self.representatives, max(1, most // 2))
        highest, sample = _best(request, min(pool, max(size, most - drawn)), drawn)
        limit = "what this strategy compares" if most >= self.candidates else "query.memory_limit"
        note = (
            f"{drawn} of {pool} samples, drawn by their uncertainty, stood for all, and they and the "
            f"{len(highest.digests)} most uncertain were candidates: more exceed {limit}"
        )
        return _merged(request, highest, sample, drawn, (note,))


def _best(request: Request, highest: int, drawn: int) -> tuple[Selection, Selection]:
    """The ``highest`` u of the eligible samples, and the ``drawn`` + 1 highest priorities (none if none are wanted).

    A sample's priority is u / U, with U uniform by seed and content.
    """
    by_value, by_priority = Best(replace(request, budget=highest)), Best(replace(request, budget=drawn + 1))
    for block in request.blocks(Margin().columns):
        uncertainty = Margin().values(block, request)
        by_value.offer(block.digests, uncertainty)
        if drawn:
            by_priority.offer(block.digests, uncertainty / _uniform(request, block.digests))
    first = by_value.selection()
    if len(first.digests) < highest:
        raise unscored(highest - len(first.digests), len(request.eligible))
    return first, by_priority.selection()


def _uniform(request: Request, digests: Digests) -> Floats:
    """(n,) in (0, 1): a number that seed and content determine."""
    keys = request.keys(digests, "representatives")
    uniform: Floats = ((keys >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
    return uniform


def _merged(
    request: Request, highest: Selection, priorities: Selection, drawn: int, notes: tuple[str, ...]
) -> _Compared:
    """The ``highest`` u and those ``drawn`` together, each sample once; with none drawn everyone stands for himself.

    The ``drawn`` highest of the ``priorities`` are the sample. τ is the highest that is not in it, and max(u, τ) then
    estimates any sum of u over the pool without bias.
    """
    assert highest.values is not None and priorities.values is not None
    chances, digests = priorities.values[:drawn], priorities.digests[:drawn]
    threshold = np.nan_to_num(priorities.values[drawn:]).max(initial=0.0)
    digests, chances = digests[chances > 0], chances[chances > 0]
    samples = SampleSet(np.concatenate([highest.digests, digests]))
    uncertainty, weights = np.zeros(len(samples)), np.zeros(len(samples))
    places = samples.find(digests)
    uncertainty[places] = chances * _uniform(request, digests)
    weights[places] = np.maximum(uncertainty[places], threshold)
    uncertainty[samples.find(highest.digests)] = highest.values
    ordered = keyed_order(request, samples)
    rows = samples.find(ordered)
    uncertainty = uncertainty[rows]
    weights = weights[rows] if drawn else np.nan_to_num(uncertainty)
    return _Compared(ordered, uncertainty, weights, not drawn, notes, highest.non_finite)


def _pick(request: Request, compared: _Compared) -> tuple[Rows, NDArray[np.bool_]]:
    """What greedy coverage takes, as rows of ``compared``, and which rows have no point or no u (n,)."""
    points, rows = mapped(_SPACE, gather(request, compared.digests, _SPACE.columns))
    unusable = np.ones(len(compared.digests), bool)
    unusable[rows] = False
    defined = np.flatnonzero(~np.isnan(compared.uncertainty[rows]))
    if len(defined) < len(rows):
        points, rows = points.take(defined), rows[defined]
    weights = compared.weights[rows]
    represented = np.flatnonzero(weights > 0)
    width = sq_width(request)
    if not len(represented) or not width > 0:
        return np.empty(0, np.intp), unusable
    own = None
    if not compared.whole:
        places = np.full(len(rows), -1)
        places[represented] = np.arange(len(represented))
        own = OwnWeights(compared.uncertainty[rows], places)
    pool = points if len(represented) == len(rows) else points.take(represented)
    coverage = Coverage(points, pool, width, _known(request), weights[represented], own)
    return rows[coverage.pick(min(request.size, len(rows)))], unusable


def _known(request: Request) -> Iterator[Points]:
    for columns in chunks(request, request.known, _SPACE.columns):
        points, _ = mapped(_SPACE, columns)
        if len(points):
            yield points


def sq_width(request: Request) -> float:
    """σ²; 0 where all features are equal."""
    gap = _median_gap(_known(request))
    if gap > 0:
        return gap**2
    some = keyed_order(request, request.eligible)[:_MEASURED]
    points, _ = mapped(_SPACE, gather(request, some, _SPACE.columns))
    return median_sq_distance(points) / 4.0


def _median_gap(pieces: Iterator[Points]) -> float:
    """The median distance of a point to the nearest other one; 0 for fewer than two points."""
    first = next(pieces, None)
    if first is None:
        return 0.0
    asked = first.take(np.arange(min(_MEASURED, len(first))))
    nearest = Nearest(asked)
    between = asked.sq_distances(asked)
    np.fill_diagonal(between, np.inf)
    nearest.sq_distance[:] = between.min(axis=1)
    nearest.add(first.take(slice(len(asked), None)))
    for piece in pieces:
        nearest.add(piece)
    gaps = nearest.sq_distance[np.isfinite(nearest.sq_distance)]
    return float(np.median(np.sqrt(gaps))) if len(gaps) else 0.0
