"""What ``plan`` tells: the values behind its tables, and the keys of its ``--json`` (docs/planning.md).

Values of the metric are in its own units. ``p10``, ``p50`` and ``p90``: with a chance of 10, 50 and 90 in a hundred the
number is at most that. None among labels, money, days or dates: not within the pool, or nobody has said what it costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from dalcli.planning.money import Spent
from dalcli.planning.trajectory import CurvePoint

Verdict = Literal["continue", "target-reached", "infeasible", "need-evaluation-labels", "insufficient-data"]
Question = Literal["standing", "target", "budget", "money", "deadline"]
Number = TypeVar("Number")


@dataclass(frozen=True)
class Range(Generic[Number]):
    """Three quantiles."""

    p10: Number
    p50: Number
    p90: Number


@dataclass(frozen=True)
class Standing:
    """Where we stand: the newest measured version, and the labels there are.

    Attributes:
        interval_low, interval_high: at ``level``, for one look.
        proven: what is proven at ``level`` however often one has looked: at least that (of costs: at most).
        labels: that the version was trained on; ``labels_now`` are there by now.
        left: usable labels that the pool can still give; ``under_way`` of them from batches that are out; ``usable``
            is the share of answered images that gave one.
        disputed: share of images with several votes whose votes differ; None: no image has several.
    """

    version: str | None
    value: float | None
    interval_low: float | None
    interval_high: float | None
    proven: float | None
    level: float
    evaluated: int
    evaluation_labels: int
    evaluation_left: int
    labels: int
    labels_now: int
    in_flight: int
    left: int
    under_way: int
    usable: float
    disputed: float | None
    spent: Spent


@dataclass(frozen=True)
class BandPoint:
    """The forecast after so many labels in all."""

    labels: int
    p10: float
    p50: float
    p90: float


@dataclass(frozen=True)
class Basis:
    """What the forecast is made from.

    Attributes:
        kind: active: the measured versions; random: models trained on random parts of the labels. Never both.
        points: distinct numbers of labels.
        refused: why there is no forecast; None: there is one.
        cautions: why it is to be taken with care.
        laws: weight of each family of curves.
    """

    kind: Literal["active", "random"] | None
    points: int
    refused: str | None
    cautions: tuple[str, ...]
    laws: dict[str, float]


@dataclass(frozen=True)
class Purchase:
    """What so many more labels buy.

    ``reach`` is the chance to be at the target then; ``rounds`` and ``money`` leave out the rounds of batches that are
    out.
    """

    labels: int
    value: Range[float]
    reach: float | None
    rounds: int
    money: float | None
    days: float | None
    date: str | None


@dataclass(frozen=True)
class ToTarget:
    """What it takes to get there within the pool, in batches of ``batch``; ``chance`` is that to get there at all."""

    target: float
    batch: int
    chance: float
    labels: Range[int | None]
    money: Range[float | None]
    days: Range[float | None]
    date: Range[str | None]


@dataclass(frozen=True)
class NextBatch:
    """The batch to ask for: ``images`` of it, which give so many usable ``labels``.

    ``gain`` is in points (0.01) of the metric, or in its units where less is better.
    """

    labels: int
    images: int
    strategy: str
    gain: Range[float] | None
    money: float | None
    reason: str


@dataclass(frozen=True)
class BatchOption:
    """Expected costs of one batch size, in the currency; the last three are None without a target.

    Attributes:
        order: of ordering one such batch and stopping.
        to_the_end: of going on with such batches until the target is reached or the pool is empty.
        go_on: the same, but giving up once there are ``give_up_at`` labels in all, which is where that is cheapest.
    """

    labels: int
    order: float
    to_the_end: float | None
    go_on: float | None
    give_up_at: int | None


@dataclass(frozen=True)
class Decision:
    """Expected costs from here on, missing the target and the worth of points included; in the currency.

    Attributes:
        stop: of stopping now, or after what is out, which comes in either way.
        options: of the next batch, by size.
        batch: the size that is proposed where one goes on.
        best: the same where that is worth more than stopping (`worth_going_on`), else 0.
    """

    stop: float
    options: tuple[BatchOption, ...]
    batch: int
    best: int

    @property
    def option(self) -> BatchOption:
        """The proposed size's costs."""
        return next(each for each in self.options if each.labels == self.batch)


@dataclass(frozen=True)
class Proof:
    """What proves the target at ``level``, valid however often one looks (a confidence sequence).

    Attributes:
        proven: it is.
        exact: the bound is one of shares; of macro recall it is one for as many examples as are as sure.
        evaluation_now: more evaluation labels that are expected to prove it with the present model; None: none do.
        training, evaluation: the cheapest expected way: more training labels first, then more evaluation labels; None:
            no way within the pool.
        money: of that.
    """

    proven: bool
    exact: bool
    evaluation_now: int | None
    training: int | None
    evaluation: int | None
    money: float | None


@dataclass(frozen=True)
class ClassShortfall:
    """A class below the target (without one: surely below the mean over classes), worst first."""

    name: str
    recall: float
    low: float
    high: float
    support: int
    labels: int
    below: float


@dataclass(frozen=True)
class TrackRecord:
    """How good forecasts of this workspace were, in points (0.01) of the metric, or its units where less is better."""

    forecasts: int
    scored: int
    outcomes: int
    coverage: float | None
    median_error: float | None


@dataclass(frozen=True)
class PlanResult:
    """Everything that ``plan`` tells."""

    question: Question
    metric: str
    metric_label: str
    less_is_better: bool
    target: float | None
    verdict: Verdict
    reason: str
    next_step: str
    standing: Standing
    curve: tuple[CurvePoint, ...]
    basis: Basis
    band: tuple[BandPoint, ...]
    ceiling: Range[float] | None
    to_target: ToTarget | None
    answer: Purchase | None
    budgets: tuple[Purchase, ...]
    next_batch: NextBatch | None
    decision: Decision | None
    proof: Proof | None
    classes: tuple[ClassShortfall, ...]
    gain_over_random: dict[str, Any] | None
    track_record: TrackRecord
    notes: tuple[str, ...]

    @property
    def at_target(self) -> bool:
        """Whether today's measurement is at the target, proven or not."""
        value, target = self.standing.value, self.target
        if value is None or target is None:
            return False
        return value <= target if self.less_is_better else value >= target
