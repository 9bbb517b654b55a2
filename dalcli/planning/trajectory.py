"""Which measured versions make up the learning curve of today's model, and which do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from dalcli.config.words import counted
from dalcli.forecasting.curves import Curve, Point
from dalcli.planning.metrics import Measured, Metric
from dalcli.state.database import INTERNAL
from dalcli.state.trajectory import MeasuredVersion


@dataclass(frozen=True)
class CurvePoint:
    """One measured version, in the metric's units.

    Attributes:
        labels: what it was trained on.
        low, high: of the confidence interval at ``evaluation.confidence``, for one look.
        evaluated: examples that tell.
        strategy: who chose most of its new labels; '': none of ours.
        start: fresh, continued (from its parent), or head (of a frozen network).
    """

    version: str
    labels: int
    value: float
    low: float
    high: float
    evaluated: int
    strategy: str
    start: str
    measured: Measured = field(metadata=INTERNAL)


@dataclass(frozen=True)
class Trajectory:
    """Points of one curve, oldest first, the last of which is today's; ``notes`` say what is not among them."""

    points: tuple[CurvePoint, ...]
    chosen: bool
    notes: tuple[str, ...]

    @property
    def sizes(self) -> int:
        """Distinct numbers of labels: what a forecast counts."""
        return len({point.labels for point in self.points})

    def curve(self, metric: Metric) -> Curve:
        """As the forecast takes it; that a cold start chose otherwise than what came after it is no change of ways."""
        points = tuple(
            Point(p.labels, p.measured.value, p.measured.trials, p.strategy if position else "")
            for position, p in enumerate(self.points)
        )
        return Curve(points, "active" if self.chosen else "random", metric.chance)


def trajectory(
    versions: Sequence[MeasuredVersion], metric: Metric, level: float, merged_at: str | None = None
) -> Trajectory:
    """The versions that share settings and classes with the newest measured one.

    A version with another network, other settings or fewer classes is a point of another curve, and so is one that was
    measured before classes were merged (``merged_at``, the last time).
    """
    notes = []
    today = [v for v in versions if merged_at is None or v.measured_at >= merged_at]
    if len(today) < len(versions):
        others = counted(len(versions) - len(today), "version was", "versions were")
        notes.append(
            f"{others} measured before classes were merged, when more answers were wrong: not on this curve "
            "(dalcli evaluate --model VERSION measures one again)"
        )
    if not today:
        return Trajectory((), False, tuple(notes))
    newest = today[-1]
    alike = [v for v in today if (v.settings, v.classes) == (newest.settings, newest.classes)]
    if len(alike) < len(today):
        others = counted(len(today) - len(alike), "version was", "versions were")
        notes.append(f"{others} trained with other settings, network or classes: not on this curve")
    found = [(version, metric.measure(version.report)) for version in alike if version.labels]
    points = tuple(_point(version, measured, metric, level) for version, measured in found if measured is not None)
    if len(points) < len(found):
        without = counted(len(found) - len(points), "version was", "versions were")
        notes.append(f"{without} measured without an example that tells the {metric.label}")
    # A strategy that chose anything bends the curve, for all labels that came later stand on it.
    chosen = any(name not in {"", "random"} for version in alike for name in version.strategies)
    return Trajectory(points, chosen, tuple(notes))


def _point(version: MeasuredVersion, measured: Measured, metric: Metric, level: float) -> CurvePoint:
    interval = measured.interval(level)
    ends = sorted((metric.shown(interval.low), metric.shown(interval.high)))
    return CurvePoint(
        version=version.version,
        labels=version.labels,
        value=metric.shown(measured.value),
        low=ends[0],
        high=ends[1],
        evaluated=measured.trials,
        strategy=next(iter(version.strategies), ""),
        start=version.start,
        measured=measured,
    )
