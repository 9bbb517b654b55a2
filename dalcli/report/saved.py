"""What choosing has saved, in labels: the gain over random draws, read off the measured learning curve.

``evaluate --control`` compares models with n labels each, of which some were chosen or all drawn at random. Random
draws come to the curve's value at n less the gain, and the curve was there before, at n0 labels: n - n0 is what
choosing has saved of n. The curve is read along straight lines between the measured versions, each as good as the best
so far: an estimate, and the report says so. The ends of the gain's interval give its range.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dalcli.planning.trajectory import CurvePoint
from dalcli.report.contents import Saved


def saved(gain: Mapping[str, Any] | None, curve: Sequence[CurvePoint], price: float | None) -> Saved | None:
    """``curve`` is that of accuracy, ``price`` of a label. None: there is no gain, or no curve to read it off."""
    if gain is None or gain.get("gain") is None or len({point.labels for point in curve}) < 2:
        return None
    ordered = sorted(curve, key=lambda point: point.labels)
    sizes = np.array([point.labels for point in ordered], np.float64)
    values = np.maximum.accumulate([point.value for point in ordered])
    labels = int(gain["common_labels"] + gain["compared"])
    if not sizes[0] <= labels <= sizes[-1]:
        return None
    here = float(np.interp(labels, sizes, values))

    def less(points: float) -> int:
        """How many labels before ``labels`` the curve was lower by ``points``."""
        return 0 if points <= 0 else round(labels - _reached(here - points, sizes, values))

    middle, interval = less(gain["gain"]), gain["gain_interval"]
    return Saved(
        labels=labels,
        as_good_at=labels - middle,
        saved=middle,
        saved_low=less(interval["low"]),
        saved_high=less(interval["high"]),
        money=None if price is None else price * middle,
        at_least=bool(here - gain["gain"] < values[0]),
    )


def _reached(wanted: float, sizes: np.ndarray[Any, Any], values: np.ndarray[Any, Any]) -> float:
    """The fewest labels with which the curve is at ``wanted``; where it begins higher, those it begins with."""
    after = int(np.searchsorted(values, wanted, side="left"))
    if after == 0:
        return float(sizes[0])
    share = (wanted - values[after - 1]) / (values[after] - values[after - 1])
    return float(sizes[after - 1] + share * (sizes[after] - sizes[after - 1]))
