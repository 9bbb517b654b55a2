"""The control arm: a part of a batch that no strategy chose, to tell what the strategy is worth.

It is drawn first, uniformly from everything that the strategy could have chosen; the strategy then chooses from the
rest, and treats the control samples as in flight. So the control arm is a uniform draw from the *remaining* pool, what
earlier batches left over, and not from the pool. Its rows are spread over the ranks of the batch: whoever labels the
upper half of a batch labels half of either arm.

A batch that is drawn at random as a whole (a cold start by ``random``) needs no arm of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dalcli.config.hashing import derive_seed, generator
from dalcli.querying.prescreened import select_exact
from dalcli.scores.columns import Digests
from dalcli.scores.samples import SampleSet
from dalcli.strategies.base import Request, Selection, Strategy
from dalcli.strategies.random import Random

UNIFORM = "random"
"""The strategy that draws uniformly; rows of the control arm name it."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """A whole batch in the order of its ranks; ``control`` (n,) says which of them no strategy chose."""

    selection: Selection
    control: NDArray[np.bool_]


def select_with_control(
    strategy: Strategy, name: str, request: Request, fraction: float, seed: int, batch_id: str
) -> Drawn:
    """What ``strategy``, called ``name``, chooses, with a control arm of ``fraction`` of the batch; 0: none.

    ``seed`` and ``batch_id`` decide what is drawn, nothing else.
    """
    if fraction <= 0 or name == UNIFORM:
        selection = select_exact(strategy, request)
        note = "no control arm: the whole batch is drawn at random"
        selection = selection if fraction <= 0 else _noted(selection, note)
        return Drawn(selection, np.zeros(len(selection.digests), bool))
    random = generator(seed, "control", batch_id)
    count = control_size(request.size, fraction, float(random.random()))
    places = random.choice(request.size, count, replace=False)
    if not count:
        note = f"no control sample this time: {fraction:g} of {request.size} was rounded down to none"
        return Drawn(_noted(select_exact(strategy, request), note), np.zeros(request.size, bool))
    draw = replace(request, budget=count, seed=derive_seed(seed, "control samples", batch_id))
    control = SampleSet(Random().select(draw).digests)
    chosen = Selection(SampleSet.EMPTY.digests, np.empty(0))
    if count < request.size:
        rest = request.eligible.digests[~control.contains(request.eligible.digests)]
        chosen = select_exact(
            strategy,
            replace(
                request,
                budget=request.size - count,
                eligible=SampleSet(rest),
                in_flight=request.in_flight | control,
            ),
        )
    return _interleaved(chosen, control.digests, places)


def control_size(size: int, fraction: float, chance: float) -> int:
    """How many of ``size`` samples are control: ``fraction`` of them, rounded up or down at random.

    ``chance`` in [0, 1) decides; on average it is exactly the fraction, however small the batches are.
    """
    exact = round(size * fraction, 9)  # 0.1 · 30 is 3, whatever floats say
    whole = math.floor(exact)
    return whole + (chance < exact - whole)


def _interleaved(chosen: Selection, control: Digests, places: NDArray[np.int64]) -> Drawn:
    """The ``control`` samples at ``places`` among those ``chosen``, which keep their order."""
    is_control = np.zeros(len(chosen.digests) + len(control), bool)
    is_control[places] = True
    digests = np.empty((len(is_control), control.shape[1]), np.uint8)
    digests[is_control], digests[~is_control] = control, chosen.digests
    values = None
    if chosen.values is not None:
        values = np.full(len(is_control), np.nan)
        values[~is_control] = chosen.values
    return Drawn(replace(chosen, digests=digests, values=values), is_control)


def _noted(selection: Selection, note: str) -> Selection:
    return replace(selection, notes=(*selection.notes, note))
