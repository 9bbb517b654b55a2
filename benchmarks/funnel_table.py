"""One table of several simulations: how much more area under its curve than random's a strategy has, by setting.

    python benchmarks/funnel_table.py RESULTS.csv ... [--measure accuracy|macro_accuracy]

RESULTS.csv is what `dalcli simulate` writes, or anything with its columns strategy, seed, labels and accuracy.
Differences are taken within seeds, in per cent, with half their 95% interval (Student's t); those whose whole interval
is above 0 are bold. The best strategy on the average of all settings comes first.
"""

from __future__ import annotations

import argparse
import csv
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from scipy.stats import t as student

Areas = dict[str, dict[int, float]]
"""By strategy and seed, in per cent."""


def areas(file: Path, measure: str) -> Areas:
    """The mean over a curve's points, of seeds that are complete for every strategy."""
    curves: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    with file.open(newline="") as opened:
        for row in csv.DictReader(opened):
            curves[row["strategy"]][int(row["seed"])].append(100 * float(row[measure]))
    longest = max(len(curve) for seeds in curves.values() for curve in seeds.values())
    complete = [{seed for seed, curve in seeds.items() if len(curve) == longest} for seeds in curves.values()]
    common = set.intersection(*complete)
    return {name: {seed: statistics.mean(seeds[seed]) for seed in common} for name, seeds in curves.items()}


def gain(area: Mapping[int, float], baseline: Mapping[int, float]) -> tuple[float, float]:
    """The mean difference within seeds and half its interval."""
    differences = [area[seed] - baseline[seed] for seed in sorted(area)]
    if len(differences) < 2:
        return statistics.mean(differences), float("inf")
    half = float(student.ppf(0.975, len(differences) - 1)) * statistics.stdev(differences) / len(differences) ** 0.5
    return statistics.mean(differences), half


def table(found: Mapping[str, Areas]) -> list[str]:
    """Lines of Markdown."""
    gains = {
        name: {setting: gain(by_strategy[name], by_strategy["random"]) for setting, by_strategy in found.items()}
        for name in next(iter(found.values()))
        if name != "random"
    }
    seeds = {setting: len(by_strategy["random"]) for setting, by_strategy in found.items()}
    lines = [
        f"| strategy | mean | {' | '.join(found)} |",
        "|---" * (len(found) + 2) + "|",
        f"| random, seeds | | {' | '.join(f'{_mean(found[each])}, {seeds[each]}' for each in found)} |",
    ]
    for name in sorted(gains, key=lambda name: -statistics.mean(mean for mean, _ in gains[name].values())):
        cells = [_cell(mean, half) for mean, half in gains[name].values()]
        overall = statistics.mean(mean for mean, _ in gains[name].values())
        lines.append(f"| {name} | {overall:+.1f} | {' | '.join(cells)} |")
    return lines


def _cell(mean: float, half: float) -> str:
    text = f"{mean:+.1f} ± {half:.1f}"
    return f"**{text}**" if mean > half else text


def _mean(by_strategy: Areas) -> str:
    return f"{statistics.mean(by_strategy['random'].values()):.1f}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("--measure", default="accuracy", choices=("accuracy", "macro_accuracy"))
    options = parser.parse_args(arguments)
    print("\n".join(table({file.stem: areas(file, options.measure) for file in options.results})))


if __name__ == "__main__":
    main()
