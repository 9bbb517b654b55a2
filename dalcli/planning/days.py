"""Working days: how many labels come in by a date, and on which date they are in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date, timedelta

from dalcli.config.planning import WEEKDAYS, Weekday

_WEEK = len(WEEKDAYS)


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
