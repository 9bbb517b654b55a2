"""Choosing from a prescreened table: strategies that need exact scores see only the samples that have them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dalcli.config.words import counted
from dalcli.scores.columns import Screened
from dalcli.scores.samples import SampleSet
from dalcli.strategies.base import Request, Selection, Strategy
from dalcli.strategies.random import Random

EXACT_COLUMNS = frozenset({"grad_sq_norm", "grad_inner", "sketch"})
COLUMN = "prescreen"


@dataclass(frozen=True, eq=False)
class Narrowed:
    """A ``request`` for samples with exact scores, and the ``away`` ones that were left out of it by choice."""

    request: Request
    away: SampleSet
    wanted: int

    def completed(self, selection: Selection) -> Selection:
        """With samples without exact scores behind, in random order, where the others do not suffice."""
        lacking = min(self.wanted - len(selection.digests), len(self.away))
        notes = list(selection.notes)
        if len(self.away):
            left_out = counted(len(self.away), "sample without exact scores was", "samples without exact scores were")
            notes.append(f"{left_out} left out (scoring.prescreen)")
        if lacking > 0:
            have = counted(len(selection.digests), "eligible sample has", "eligible samples have")
            last = "one was" if lacking == 1 else f"{lacking} were"
            notes[-1] = f"only {have} exact scores (scoring.prescreen); the last {last} drawn at random from the others"
            rest = Random().select(replace(self.request, eligible=self.away, budget=lacking))
            empty = np.full(lacking, np.nan)
            values = None if selection.values is None else np.concatenate([selection.values, empty])
            digests = np.concatenate([selection.digests, rest.digests])
            selection = replace(selection, digests=digests, values=values)
        return replace(selection, notes=tuple(notes))


def select_exact(strategy: Strategy, request: Request) -> Selection:
    """What ``strategy`` chooses; samples that a prescreen left without exact scores come last if it needs those."""
    narrow = narrowed(request, strategy.columns)
    if len(narrow.request.eligible):
        return narrow.completed(strategy.select(narrow.request))
    return narrow.completed(Selection(SampleSet.EMPTY.digests, np.empty(0)))


def narrowed(request: Request, columns: Sequence[str]) -> Narrowed:
    """``request`` for a strategy that reads ``columns``, without the samples that were prescreened away."""
    table = request.table
    if table is None or COLUMN not in table.layout or not EXACT_COLUMNS & set(columns):
        return Narrowed(request, SampleSet.EMPTY, request.size)
    left_out = [block.digests[block[COLUMN] == Screened.AWAY] for block in table.blocks((COLUMN,))]
    gone = SampleSet(np.concatenate(left_out)) if left_out else SampleSet.EMPTY
    kept, away = _parted(request.eligible, gone)
    narrow = replace(request, eligible=kept)
    if "sketch" in columns:  # nor can these be kept away from
        narrow = replace(
            narrow, labeled=_parted(request.labeled, gone)[0], in_flight=_parted(request.in_flight, gone)[0]
        )
    return Narrowed(narrow, away, request.size)


def _parted(samples: SampleSet, gone: SampleSet) -> tuple[SampleSet, SampleSet]:
    """Those that are not ``gone``, and those that are."""
    away = gone.contains(samples.digests)
    return SampleSet(samples.digests[~away]), SampleSet(samples.digests[away])


def other_gamma(columns: Sequence[str], asked: float, prescreened_for: float | None) -> str | None:
    """What to say of a choice by Δ with another γ than the prescreen's."""
    if prescreened_for is None or not {"grad_sq_norm", "grad_inner"} & set(columns):
        return None
    if asked == prescreened_for or (math.isinf(asked) and math.isinf(prescreened_for)):
        return None
    return (
        f"the scores were prescreened for γ = {prescreened_for:g}; what that missed for γ = {asked:g} is unknown "
        "(exact scores of all: scoring.prescreen: 1)"
    )
