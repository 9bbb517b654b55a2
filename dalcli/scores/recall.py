"""How many of the highest Δ a prescreened score table may have missed, from its control sample. Never imports torch."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from dalcli.scores.columns import Screened
from dalcli.scores.delta import delta
from dalcli.scores.table import ScoreBlock

LEVEL = 0.95
COLUMNS = ("grad_sq_norm", "grad_inner", "prescreen")


@dataclass(frozen=True)
class PrescreenRecall:
    """What is known about the exact top ``budget`` of ``samples`` samples for Δ with ``gamma``.

    ``scored`` samples have exact values; ``control`` of these were below the threshold, drawn at random, and
    ``control_hits`` of them reach the ``budget``-th highest exact Δ. ``missed`` is the number of samples without exact
    values that would reach it, too, scaled up from the control sample, and ``recall`` the share of the top that was
    scored exactly if all of these belong to it; ``recall_at_least`` holds with 95% confidence (Clopper and Pearson,
    one-sided). None where there is no control sample to tell.
    """

    fraction: float
    gamma: float
    samples: int
    scored: int
    budget: int
    control: int
    control_hits: int
    missed: float | None
    recall: float | None
    recall_at_least: float | None


def measured_recall(blocks: Iterable[ScoreBlock], budget: int | None, fraction: float, gamma: float) -> PrescreenRecall:
    """The statement for the table that ``blocks`` (with :data:`COLUMNS`) stream; ``budget`` None: 1% of the samples.

    Values that are not numbers rank below all others.
    """
    parts = [(delta(b["grad_sq_norm"], b["grad_inner"], gamma), b["prescreen"]) for b in blocks]
    values = np.concatenate([part for part, _ in parts]) if parts else np.empty(0)
    codes = np.concatenate([part for _, part in parts]) if parts else np.empty(0, np.uint8)
    samples, away = len(codes), int(np.count_nonzero(codes == Screened.AWAY))
    wanted = min(max(1, math.ceil(0.01 * samples)) if budget is None else budget, samples)
    exact = np.nan_to_num(values[codes != Screened.AWAY], nan=-np.inf, posinf=np.inf, neginf=-np.inf)
    control = np.nan_to_num(values[codes == Screened.CONTROL], nan=-np.inf, posinf=np.inf, neginf=-np.inf)
    place = min(wanted, len(exact))
    level = -np.partition(-exact, place - 1)[place - 1] if place else -np.inf
    hits = int(np.count_nonzero(control >= level))
    missed, recall, at_least = _scaled(hits, len(control), away, wanted)
    return PrescreenRecall(
        fraction=fraction,
        gamma=gamma,
        samples=samples,
        scored=samples - away,
        budget=wanted,
        control=len(control),
        control_hits=hits,
        missed=missed,
        recall=recall,
        recall_at_least=at_least,
    )


def _scaled(hits: int, control: int, away: int, wanted: int) -> tuple[float | None, float | None, float | None]:
    if away == 0:
        return 0.0, 1.0, 1.0
    if control == 0:
        return None, None, None
    missed, most = away * hits / control, away * upper_rate(hits, control, LEVEL)
    return min(missed, float(wanted)), max(0.0, 1 - missed / wanted), max(0.0, 1 - most / wanted)


def upper_rate(hits: int, trials: int, level: float) -> float:
    """The largest rate at which ``hits`` or fewer of ``trials`` still happen with probability 1 − ``level``.

    The one-sided limit of Clopper and Pearson (1934); without hits 1 − (1 − level)^(1/trials), about 3/trials at 95%.
    """
    if not 0 <= hits <= trials or trials == 0 or not 0 < level < 1:
        raise ValueError(f"no limit for {hits} of {trials} at level {level}")
    if hits == trials:
        return 1.0
    low, high = hits / trials, 1.0
    for _ in range(100):
        middle = (low + high) / 2
        if _at_most(hits, trials, middle) > 1 - level:
            low = middle
        else:
            high = middle
    return high


def _at_most(hits: int, trials: int, rate: float) -> float:
    """P(X ≤ hits) for a binomial X, 0 < rate ≤ 1."""
    if rate >= 1:
        return 0.0
    ways = math.lgamma(trials + 1)
    return math.fsum(
        math.exp(
            ways
            - math.lgamma(k + 1)
            - math.lgamma(trials - k + 1)
            + (k * math.log(rate) if k else 0.0)
            + (trials - k) * math.log1p(-rate)
        )
        for k in range(hits + 1)
    )
