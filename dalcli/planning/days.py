"""Working days: how many labels come in by a date, and on which date they are in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from dalcli.config.planning import WEEKDAYS, Weekday
from dalcli.planning.money import rounds_for

_WEEK = len(WEEKDAYS)


@dataclass(frozen=True)
class Pace:
    """How fast labels come in.

    Attributes:
        labels_per_day: usable ones, on a working day.
        days_per_round: working days that a round takes besides; one whose batch is out still takes them.
    """

    labels_per_day: float
    days_per_round: float

    def days(self, labels: float, batch: int, out: int) -> float:
        """Working days until so many labels are in, the first ``out`` of which are being made."""
        rounds = rounds_for(labels, batch, out) + (min(labels, out) > 0)
        return labels / self.labels_per_day + rounds * self.days_per_round

    def labels(self, days: float, batch: int, out: int) -> int:
        """Labels that are in after so many working days."""
        first = self._of_a_round(days, out)
        if first < out:
            return first
        if out:
            days -= self.days(out, batch, out)
        rounds = math.floor(days / self.days(batch, batch, 0) + 1e-9)
        return first + rounds * batch + self._of_a_round(days - rounds * self.days(batch, batch, 0), batch)

    def _of_a_round(self, days: float, most: int) -> int:
        inside = max(days - self.days_per_round, 0) * self.labels_per_day
        return min(math.floor(inside + 1e-9), most)


def working_days_until(today: date, last: date, working: Sequence[Weekday]) -> int:
    """Working days after ``today`` up to ``last``, which counts."""
    open_days = _open(working)
    weeks, rest = divmod(max((last - today).days, 0), _WEEK)
    return weeks * len(open_days) + sum((today.weekday() + day) % _WEEK in open_days for day in range(1, rest + 1))


def date_after(today: date, days: float, working: Sequence[Weekday]) -> date | None:
    """The date on which so many working days after ``today`` have passed; None: after the year 9999."""
    open_days = _open(working)
    left = math.ceil(days - 1e-9)
    if left <= 0:
        return today
    weeks, left = divmod(left - 1, len(open_days))
    try:
        found = today + timedelta(weeks=weeks)
        while left >= 0:
            found += timedelta(days=1)
            left -= found.weekday() in open_days
    except OverflowError:
        return None
    return found


def _open(working: Sequence[Weekday]) -> set[int]:
    return {WEEKDAYS.index(day) for day in working}
