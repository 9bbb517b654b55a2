"""Several simulations at once: each strategy's area under the learning curve by setting, and paired over all of them.

    python benchmarks/pooled.py RESULTS... [--reference diverse-margin] [--baseline random]

RESULTS are folders of ``dalcli simulate`` (or their ``results.csv``) with the same strategies and seeds. A setting is a
simulation × variant × first choice × batch size. Differences are within seeds, averaged over settings; intervals are
those of ``simulate``, at 95%. ``regret``: how far a strategy is below the best one, in its worst setting.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dalcli.simulation.statistics.comparison import estimate
from dalcli.simulation.statistics.curves import area

LEVEL = 0.95
Areas = NDArray[np.float64]
Setting = tuple[str, ...]


def main(arguments: Sequence[str] | None = None) -> None:
    """Read, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", type=Path)
    parser.add_argument("--reference", default="diverse-margin")
    parser.add_argument("--baseline", default="random")
    options = parser.parse_args(arguments)
    strategies, settings, areas = pooled(options.results)
    for name in (options.reference, options.baseline):
        if name not in strategies:
            sys.exit(f"there is no strategy {name!r}; there are: {', '.join(strategies)}")
    for number, setting in enumerate(settings):
        print(f"({number + 1}) {', '.join(setting)}")
    numbers = "".join(f"{f'({number + 1})':>7}" for number in range(len(settings)))
    versus = f"{'minus ' + options.baseline:26}{'minus ' + options.reference:26}"
    print(f"{'area %':44}{numbers}{'mean':>8}{'regret':>8}   {versus}")
    best = areas.mean(axis=2).max(axis=0)
    for row in np.argsort(-areas.mean(axis=(1, 2))):
        means = areas[row].mean(axis=1)
        figures = "".join(f"{mean:7.1f}" for mean in means)
        differences = "".join(
            f"{difference(areas[row] - areas[strategies.index(other)]):26}"
            for other in (options.baseline, options.reference)
        )
        print(f"{strategies[row]:44}{figures}{means.mean():8.2f}{(best - means).max():8.2f}   {differences}")


def pooled(results: list[Path]) -> tuple[list[str], list[Setting], Areas]:
    """Strategies, settings, and areas in per cent (strategies, settings, seeds), for seeds that all cells have."""
    curves: dict[tuple[str, Setting, int], dict[int, float]] = defaultdict(dict)
    for path in results:
        file = path / "results.csv" if path.is_dir() else path
        with file.open(encoding="utf-8", newline="") as opened:
            for row in csv.DictReader(opened):
                name = file.parent.name if path.is_dir() else file.stem
                setting = tuple(filter(None, (name, row["variant"], row["initial_choice"], row["batch_size"])))
                curves[row["strategy"], setting, int(row["seed"])][int(row["labels"])] = float(row["accuracy"])
    strategies, settings = sorted({key[0] for key in curves}), sorted({key[1] for key in curves})
    cells = [(strategy, setting) for strategy in strategies for setting in settings]
    seeds = sorted(set.intersection(*({key[2] for key in curves if key[:2] == cell} for cell in cells)))
    if not seeds:
        sys.exit("no seed is done for all strategies in all settings")
    flat = [_area(curves[*cell, seed]) for cell in cells for seed in seeds]
    return strategies, settings, np.array(flat).reshape(len(strategies), len(settings), len(seeds))


def _area(curve: dict[int, float]) -> float:
    labels = sorted(curve)
    return 100 * float(area(np.array(labels, float), np.array([curve[count] for count in labels])))


def difference(paired: Areas) -> str:
    """Mean and interval of paired (settings, seeds) differences."""
    found = estimate(paired.mean(axis=0), LEVEL)
    assert found is not None
    return f"{found.mean:+.2f}" + ("" if found.low is None else f" [{found.low:+.2f}, {found.high:+.2f}]")


if __name__ == "__main__":
    main()
