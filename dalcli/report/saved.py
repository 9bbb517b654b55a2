"""What choosing has saved, in labels: the gain over random draws, read off the measured learning curve.

With n labels random draws come to the measured accuracy less the gain. The curve was there before, at n0 labels;
n - n0 is what choosing has saved. Read off straight lines between measured versions, of which each is as good as the
best so far: an estimate, and the report says so. The ends of the gain's interval give the range.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dalcli.planning.trajectory import CurvePoint
from dalcli.report.contents import Saved


def saved(gain: Mapping[str, Any] | None, curve: Sequence[CurvePoint], price: float | None) -> Saved | None:
    """None: there is no gain, or its version is not on the curve of accuracies."""
    if gain is None or gain.get("gain") is None:
        return None
    points = list(curve)
    versions = [point.version for point in points]
    if gain["version"] not in versions:
        return None
    points = points[: versions.index(gain["version"]) + 1]
    labels = points[-1].labels
    best = np.maximum.accumulate([point.value for point in points])
    sizes = np.array([point.labels for point in points], np.float64)
    order = np.argsort(sizes, kind="stable")
    best, sizes = np.maximum.accumulate(best[order]), sizes[order]

    def reached(points_lost: float) -> float:
        """With how many labels the curve was so much lower than it is."""
        wanted = best[-1] - points_lost
        after = int(np.searchsorted(best, wanted, side="left"))
        if after == 0:
            return float(sizes[0])
        low, high = best[after - 1], best[after]
        return float(sizes[after - 1] + (wanted - low) / (high - low) * (sizes[after] - sizes[after - 1]))

    def so_many(points_lost: float) -> int:
        return 0 if points_lost <= 0 else round(labels - reached(points_lost))

    interval = gain["gain_interval"]
    middle = so_many(gain["gain"])
    return Saved(
        labels=labels,
        as_good_at=labels - middle,
        saved=middle,
        saved_low=so_many(interval["low"]),
        saved_high=so_many(interval["high"]),
        money=None if price is None else price * middle,
        at_least=bool(best[-1] - gain["gain"] < best[0]),
    )
