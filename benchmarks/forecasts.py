"""How good forecasts of learning curves are: on every prefix of public trajectories, leaving the data set out.

    python benchmarks/forecasts.py [CURVES.csv ...] [--json] [--hold source] [--jobs 2]
    python benchmarks/forecasts.py --learn

CURVES are CSV files, plain or gzipped, with the columns source,data_set,strategy,seed,labels,accuracy; without any,
those in ``benchmarks/curves`` are judged. For each trajectory and each prefix of four points or more: does the 80%
interval hold what was measured later, how far off is its median, what do decisions cost beside rules of thumb? The
calibration is learned without the data set that is judged (``--hold source``: without its source); a data set that the
packaged table has not seen is judged with the packaged table. ``--learn`` writes that table. One core: 3.5 min.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import curve_decisions
import curve_files
import numpy as np
from curve_backtests import SEED, Backtest, Errors, all_backtests, document, errors, learn, own_errors
from curve_files import Trajectory
from numpy.typing import NDArray

from dalcli import forecasting
from dalcli.forecasting.calibration import Table, packaged
from dalcli.forecasting.curves import Floats
from dalcli.forecasting.families import FAMILIES
from dalcli.forecasting.forecast import Forecast, futures

TABLE = Path(forecasting.__file__).with_name("calibration.json")
DRAWS = 200
FACTORS = (("up to 1.5", 0.0, 1.5), ("1.5 to 2.2", 1.5, 2.2), ("2.2 to 4.1", 2.2, 4.1), ("beyond 4.1", 4.1, np.inf))
POINTS = (("4", 4, 4), ("5-6", 5, 6), ("7-9", 7, 9), ("10-14", 10, 14), ("15 or more", 15, 10**9))
TWICE = (1.8, 2.2)
"""What counts as twice today's labels."""


@dataclass(frozen=True)
class Judged:
    """One trajectory: a row for every (prefix, later size), and decisions' costs.

    Attributes:
        points: Of the prefix. [n]
        factors: Labels ahead in units of today's. [n]
        measured: What came. [n]
        interval: Tenth, fiftieth and ninetieth percentile of what would be measured. [n, 3]
        last: Today's measured value. [n]
        laws: What single laws said. [n, laws]
        orders: [prefixes, targets, penalties, rules]
        runs: [targets, penalties, rules]
    """

    points: Floats
    factors: Floats
    measured: Floats
    interval: Floats
    last: Floats
    laws: Floats
    orders: Floats
    runs: Floats


def main(arguments: Sequence[str] | None = None) -> None:
    """Judge or learn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("curves", nargs="*", type=Path)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--hold", choices=("data_set", "source"), default="data_set")
    parser.add_argument("--learn", action="store_true", help="write the packaged table from benchmarks/curves")
    parser.add_argument("--jobs", type=int, default=min(os.cpu_count() or 1, 8))
    options = parser.parse_args(arguments)
    if options.learn:
        ours = curve_files.read(curve_files.OURS)
        TABLE.write_text(document(learn(errors(ours, all_backtests(ours, options.jobs)))), encoding="utf-8")
        print(f"written: {TABLE}")
        return
    runs = [run for run in curve_files.read(options.curves or curve_files.OURS) if len(run.labels) > 4]
    if not runs:
        sys.exit("no trajectory has five different numbers of labels: there is nothing to foretell")
    judged = judge(runs, options.hold, options.jobs)
    report = summary(runs, judged)
    print(json.dumps(report, indent=1) if options.json else table(report))


def judge(runs: Sequence[Trajectory], hold: str, jobs: int) -> list[Judged]:
    """Judge every trajectory with a table that has not seen it."""
    tested = all_backtests(runs, jobs)
    group = (lambda run: run.pictures) if hold == "data_set" else (lambda run: run.source)
    tables = _tables(runs, tested, group, hold, jobs)
    work = [(tests, tables.get(group(run), packaged())) for run, tests in zip(runs, tested, strict=True)]
    if jobs == 1:
        return [_judge(piece) for piece in work]
    with ProcessPoolExecutor(jobs) as pool:
        return list(pool.map(_judge, work, chunksize=16))


def _tables(
    runs: Sequence[Trajectory],
    tested: Sequence[Sequence[Backtest]],
    group: Callable[[Trajectory], str],
    hold: str,
    jobs: int,
) -> dict[str, Table]:
    """For every group among those that the packaged table was learned from, a table learned without it."""
    ours = curve_files.read(curve_files.OURS)
    seen = {group(run) for run in ours} & {group(run) for run in runs}
    if not seen:
        return {}
    known = {(run.source, run.data_set, run.strategy, run.seed): tests for run, tests in zip(runs, tested, strict=True)}
    if any((run.source, run.data_set, run.strategy, run.seed) not in known for run in ours if len(run.labels) > 4):
        everything = errors(ours, all_backtests(ours, jobs))
    else:
        everything = errors(runs, tested)
    start = learn(everything).coefficients
    names = everything.pictures if hold == "data_set" else everything.source
    return {name: _without(everything, names != name, start) for name in sorted(seen)}


def _without(everything: Errors, kept: NDArray[np.bool_], start: Floats) -> Table:
    return learn(everything.where(kept), start)


def _judge(work: tuple[Sequence[Backtest], Table]) -> Judged:
    tests, calibration = work
    strayed = own_errors(tests, calibration)
    forecasts = [_forecast(test, calibration, own) for test, own in zip(tests, strayed, strict=True)]
    levels = (0.1, 0.5, 0.9)
    return Judged(
        np.concatenate([np.full(len(test.later), len(test.known.labels)) for test in tests]),
        np.concatenate([test.factors for test in tests]),
        np.concatenate([test.later for test in tests]),
        np.array([forecast.measured_at(int(size), levels) for forecast in forecasts for size in forecast.sizes[1:]]),
        np.concatenate([np.full(len(test.later), test.last) for test in tests]),
        np.concatenate([test.made.laws[:, 1:].T for test in tests]),
        np.stack([curve_decisions.ordering(*pair) for pair in zip(tests, forecasts, strict=True)]),
        curve_decisions.going_on(tests, forecasts),
    )


def _forecast(test: Backtest, calibration: Table, own: Floats) -> Forecast:
    generator = np.random.default_rng(SEED)
    return futures(test.known, test.sizes, test.made, calibration, own, 0.0, DRAWS, generator, ())


def summary(runs: Sequence[Trajectory], judged: Sequence[Judged]) -> dict[str, object]:
    """All tables as one document; errors and widths in points of accuracy (0.01)."""
    parts = {
        name: np.concatenate([getattr(one, name) for one in judged])
        for name in Judged.__dataclass_fields__
        if name not in ("orders", "runs")
    }
    source = np.concatenate([np.full(len(one.points), run.source) for run, one in zip(runs, judged, strict=True)])
    everywhere = np.ones(len(source), dtype=bool)
    groups = {"all": everywhere, **{f"source {name}": source == name for name in sorted(set(source))}}
    for name, low, high in FACTORS:
        groups[f"labels {name} times"] = (parts["factors"] > low) & (parts["factors"] <= high)
    for name, low, high in POINTS:
        groups[f"points {name}"] = (parts["points"] >= low) & (parts["points"] <= high)
    twice = (parts["factors"] > TWICE[0]) & (parts["factors"] < TWICE[1])
    kinds = {"all": everywhere} | _kinds(runs, judged)
    return {
        "trajectories": len(runs),
        "forecasts": int(sum(len(one.orders) for one in judged)),
        "coverage": {name: _coverage(parts, mask) for name, mask in groups.items() if mask.any()},
        "error_at_twice": {name: _errors(parts, mask & twice) for name, mask in kinds.items() if (mask & twice).any()},
        "orders": _costs(np.concatenate([one.orders for one in judged]), curve_decisions.ORDERING),
        "going_on": _costs(np.stack([one.runs for one in judged]), curve_decisions.GOING_ON),
    }


def _kinds(runs: Sequence[Trajectory], judged: Sequence[Judged]) -> dict[str, NDArray[np.bool_]]:
    active = np.concatenate([np.full(len(one.points), run.active) for run, one in zip(runs, judged, strict=True)])
    return {"active": active, "random": ~active} if active.any() and not active.all() else {}


def _coverage(parts: dict[str, Floats], mask: NDArray[np.bool_]) -> dict[str, float]:
    low, middle, high = parts["interval"][mask].T
    measured = parts["measured"][mask]
    return {
        "n": int(mask.sum()),
        "covered": float(np.mean((measured >= low - 1e-9) & (measured <= high + 1e-9))),
        "below": float(np.mean(measured < low - 1e-9)),
        "above": float(np.mean(measured > high + 1e-9)),
        "median_error": 100 * float(np.median(np.abs(middle - measured))),
        "median_width": 100 * float(np.median(high - low)),
    }


def _errors(parts: dict[str, Floats], mask: NDArray[np.bool_]) -> dict[str, float]:
    measured = parts["measured"][mask]
    said = {"forecast": parts["interval"][mask, 1], "last value": parts["last"][mask]}
    said |= dict(zip(FAMILIES, parts["laws"][mask].T, strict=True))
    return {"n": int(mask.sum())} | {
        name: 100 * float(np.median(np.abs(value - measured))) for name, value in said.items()
    }


def _costs(costs: Floats, rules: Sequence[str]) -> dict[str, dict[str, float]]:
    """Mean cost by rule, for every penalty and over all; cases whose target today has reached are left out.

    Empty where there is no other case.
    """
    if np.isnan(costs).all():
        return {}
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for column, penalty in enumerate((*curve_decisions.PENALTIES, None)):
        chosen = costs if penalty is None else costs[:, :, column : column + 1]
        means = np.nanmean(chosen.reshape(-1, len(rules)), axis=0)
        found["all" if penalty is None else f"penalty {penalty:g}"] = dict(zip(rules, means.tolist(), strict=True))
    return dict(found)


def table(report: dict[str, object]) -> str:
    """The report for people, as Markdown."""
    lines = [f"{report['trajectories']} trajectories, {report['forecasts']} forecasts\n"]
    lines += [
        "| group | n | in the 80% interval | below | above | median error | median width |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in report["coverage"].items():
        shares = " | ".join(f"{row[key]:.1%}" for key in ("covered", "below", "above"))
        lines.append(f"| {name} | {row['n']} | {shares} | {row['median_error']:.2f} | {row['median_width']:.2f} |")
    for title, key in (
        ("twice today's labels, median error", "error_at_twice"),
        ("one order, mean cost", "orders"),
        ("going on, mean cost", "going_on"),
    ):
        rows = report[key]
        if not rows:
            continue
        heads = list(next(iter(rows.values())))
        lines += ["", "| " + " | ".join([title, *heads]) + " |", "|" + "---|" * (len(heads) + 1)]
        lines += [
            "| " + " | ".join([name, *(f"{row[head]:.3f}" if head != "n" else str(row[head]) for head in heads)]) + " |"
            for name, row in rows.items()
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
