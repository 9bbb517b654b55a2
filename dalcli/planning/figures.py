"""Figures as people read them: a metric's value, an amount of money."""

from __future__ import annotations

from dalcli.planning.metrics import Metric

_MOST_DIGITS = 5


def figure(metric: Metric, value: float) -> str:
    """A share in percent, a cost as a number; ``value`` in the metric's own units."""
    return f"{value:.3g}" if metric.less_is_better else share(value)


def share(value: float) -> str:
    """In percent; 99.99% is not 100.0%."""
    enough = (digits for digits in range(1, _MOST_DIGITS) if value >= 1 or round(100 * value, digits) < 100)
    return f"{100 * value:.{next(enough, 1)}f}%"


def amount(money: float, currency: str) -> str:
    """``1,250 EUR``; cents where there are few units."""
    digits = 0 if abs(money) >= 1000 else 2
    return f"{money:,.{digits}f} {currency}".rstrip()


def chance_text(chance: float) -> str:
    """A chance from a thousand draws: the last one in a hundred is not known."""
    if chance < 0.01:
        return "below 1%"
    return "above 99%" if chance > 0.99 else f"{100 * chance:.{1 if chance < 0.1 else 0}f}%"
