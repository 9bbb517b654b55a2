"""What nobody who forecasts the curves in ``benchmarks/curves`` can expect to go below. Seconds.

    python benchmarks/curve_floor.py

Two oracles. The first knows, at every size, what the same learner reached on the same data set with other seeds. Of
twice today's labels it says what those reached on average, moved by none, half or all of how far this run's last four
points lie from theirs. The second knows what will be measured, and orders what is cheapest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import curve_files
import numpy as np
from curve_decisions import ERRORS_LEFT, PENALTIES
from curve_files import Trajectory

from dalcli.forecasting.curves import FEWEST_SIZES, Floats

TWICE = (1.8, 2.2)
OTHERS = 3
"""So many other seeds at least must have measured a size."""
RECENT = 4
MOVED = (0.0, 0.5, 1.0)


def foretold(runs: Sequence[Trajectory]) -> Iterator[list[float]]:
    """For every prefix of runs that differ in the seed: the value at twice, the last one, and what the oracle says."""
    curves = [dict(zip(run.labels.tolist(), run.value.tolist(), strict=True)) for run in runs]
    for own in curves:
        others = [curve for curve in curves if curve is not own]
        found = {size: [curve[size] for curve in others if size in curve] for size in own}
        mean = {size: float(np.mean(values)) for size, values in found.items() if len(values) >= OTHERS}
        sizes = sorted(own)
        for today in range(FEWEST_SIZES - 1, len(sizes)):
            recent = [size for size in sizes[today + 1 - RECENT : today + 1] if size in mean]
            for size in sizes[today + 1 :]:
                if size in mean and len(recent) > 1 and TWICE[0] < size / sizes[today] < TWICE[1]:
                    off = float(np.mean([own[each] - mean[each] for each in recent]))
                    yield [own[size], own[sizes[today]], *(mean[size] + share * off for share in MOVED)]


def cheapest(run: Trajectory, points: int) -> Iterator[float]:
    """Cost of the best order after so many points, for every target that is not reached and every penalty."""
    sizes, measured = run.labels[points - 1 :], run.value[points - 1 :]
    more: Floats = (sizes - sizes[0]) / (sizes[-1] - sizes[0])
    for left in ERRORS_LEFT:
        missed = measured < 1 - (1 - measured[0]) * left
        if missed[0]:
            yield from (float(np.min(more + penalty * missed)) for penalty in PENALTIES)


def main() -> None:
    """Print both."""
    runs = [run for run in curve_files.read(curve_files.OURS) if len(run.labels) > FEWEST_SIZES]
    alike: dict[tuple[str, str], list[Trajectory]] = defaultdict(list)
    for run in runs:
        if not run.active:
            alike[run.source, run.data_set].append(run)
    said = np.array([row for group in alike.values() for row in foretold(group)])
    errors = 100 * np.median(np.abs(said[:, 1:] - said[:, :1]), axis=0)
    print(f"random subsets, twice today's labels, {len(said)} forecasts, median error: last value {errors[0]:.3f}")
    for share, error in zip(MOVED, errors[1:], strict=True):
        print(f"  other seeds' mean, moved by {share:g} of the distance: {error:.3f}, {error / errors[0]:.2f} of it")
    orders = [cost for run in runs for points in range(FEWEST_SIZES, len(run.labels)) for cost in cheapest(run, points)]
    going = [cost for run in runs for cost in cheapest(run, FEWEST_SIZES)]
    print(f"with hindsight, mean cost: one order {np.mean(orders):.3f}, going on {np.mean(going):.3f}")


if __name__ == "__main__":
    main()
