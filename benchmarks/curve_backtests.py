"""What ensembles said at every prefix of public trajectories, and what is learned from it. Not a benchmark itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
from curve_files import Trajectory
from numpy.typing import NDArray
from scipy.optimize import minimize

from dalcli.forecasting import calibration, hindsight
from dalcli.forecasting.calibration import Table
from dalcli.forecasting.curves import FEWEST_SIZES, Floats, Measurements
from dalcli.forecasting.ensemble import Ensemble, ensemble

SEED = 20261126
LEVELS = np.array([0.005, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.995])
POINTS = np.array([4.0, 5, 7, 10, 15])
EDGES = np.array([1.45, 2.15, 4.1, 9])
CENTRES = np.array([1.2, 1.7, 2.8, 6, 16])
ACTIVE_SHARE = 0.1
"""What all active curves weigh together, as they do when none is left out; there are few data sets of them."""
SHRINKAGE = 300.0
"""A cell's quantiles weigh as its errors are many; so many of all points' errors are added, and of all factors'."""
FLOOR = 2e-4
LIGHT = 20_000
"""Errors from which the scale's coefficients are learned; the quantiles are learned from all."""
BROAD = 70_000
"""Errors from which the shares are learned."""
LEAST_UNIT = 2e-3
"""Errors are judged in units of a curve's noise, never less than this."""
REWEIGHED = 15
RIDGE = 1e-3


@dataclass(frozen=True)
class Backtest:
    """One prefix: what was known, the later sizes behind today's [1 + k], what was measured there [k]."""

    known: Measurements
    sizes: NDArray[np.int64]
    later: Floats
    made: Ensemble

    @property
    def factors(self) -> Floats:
        """Later sizes in units of today's. [k]"""
        return self.sizes[1:] / self.sizes[0]

    @property
    def last(self) -> float:
        """Today's measured value."""
        return float(self.known.value[-1])


def backtests(run: Trajectory) -> list[Backtest]:
    """Every prefix of four points or more that leaves one to foretell; evaluation sizes are not known."""
    found = []
    for points in range(FEWEST_SIZES, len(run.labels)):
        known = Measurements(run.labels[:points], run.value[:points], np.zeros(points))
        sizes = run.labels[points - 1 :]
        made = ensemble(known, sizes, 0.0, np.random.default_rng(SEED))
        small = replace(made, ceilings=made.ceilings[:, ::8])
        found.append(Backtest(known, sizes.astype(np.int64), run.value[points:], small))
    return found


def all_backtests(runs: Sequence[Trajectory], jobs: int) -> list[list[Backtest]]:
    """`backtests` of every run."""
    if jobs == 1:
        return [backtests(run) for run in runs]
    with ProcessPoolExecutor(jobs) as pool:
        return list(pool.map(backtests, runs, chunksize=16))


@dataclass(frozen=True)
class Errors:
    """Every (prefix, later size): features [n, f], promises [n, 2 s], last and later value [n], points, ..."""

    features: Floats
    promises: Floats
    last: Floats
    later: Floats
    points: Floats
    factors: Floats
    active: NDArray[np.bool_]
    pictures: NDArray[np.str_]
    source: NDArray[np.str_]

    def where(self, mask: NDArray[np.bool_]) -> Errors:
        """A part of them."""
        return Errors(*(getattr(self, name)[mask] for name in self.__dataclass_fields__))

    def weights(self) -> Floats:
        """Of each, summing to their number; active curves together have their share."""
        active, count = int(self.active.sum()), len(self.later)
        if not 0 < active < count:
            return np.ones(count)
        return np.where(self.active, ACTIVE_SHARE * count / active, (1 - ACTIVE_SHARE) * count / (count - active))


def errors(runs: Sequence[Trajectory], tested: Sequence[Sequence[Backtest]]) -> Errors:
    """Line up all errors."""
    parts: tuple[list[NDArray[Any]], ...] = tuple([] for _ in Errors.__dataclass_fields__)
    features, promises, last, later, points, factors, active, pictures, source = parts
    for run, prefixes in zip(runs, tested, strict=True):
        for test in prefixes:
            count, known = len(test.later), test.known
            span = known.labels[-1] / known.labels[0]
            ahead = test.sizes / test.sizes[0]
            features.append(calibration.features(test.made, ahead, test.last, len(known.labels), span)[1:])
            promises.append(calibration.promises(test.made, test.last)[1:])
            last.append(np.full(count, test.last))
            later.append(test.later)
            points.append(np.full(count, len(known.labels)))
            factors.append(test.factors)
            active.append(np.full(count, run.active))
            pictures.append(np.full(count, run.pictures))
            source.append(np.full(count, run.source))
    return Errors(*(np.concatenate(part) for part in parts))


def own_errors(tests: Sequence[Backtest], table: Table) -> list[Floats]:
    """For every prefix what `hindsight.own_errors` would find, from the other prefixes' ensembles."""
    strayed = []
    for test in tests:
        said = calibration.calibrated(test.made, test.sizes / test.sizes[0], test.known, table)
        strayed.append(hindsight.standardised(said, test.later))
    found = []
    for now in range(len(tests)):
        earlier = range(max(0, now - hindsight.ORIGINS), now)
        came = [strayed[then][: now - then][tests[then].factors[: now - then] <= hindsight.FAR] for then in earlier]
        found.append(np.concatenate([np.zeros(0), *came]))
    return found


def learn(known: Errors, start: Floats | None = None) -> Table:
    """Learn a table: shares, then the scale as a log-linear law (Laplace's likelihood), then quantiles in cells."""
    shares = _shares(known)
    off = known.later - np.clip(known.last + known.promises @ shares, 0, 1)
    coefficients = _scale(known, off, start)
    ratio = off / np.exp(known.features @ coefficients)
    weights = known.weights()
    by_points = np.searchsorted(POINTS, known.points, side="right") - 1
    by_factor = np.searchsorted(EDGES, known.factors)
    everything = _quantiles(ratio, weights)
    cells = np.zeros((len(POINTS), len(CENTRES), len(LEVELS)))
    for column in range(len(CENTRES)):
        within = by_factor == column
        of_factor = _mixed(ratio[within], weights[within], everything)
        for row in range(len(POINTS)):
            cell = within & (by_points == row)
            cells[row, column] = _mixed(ratio[cell], weights[cell], of_factor)
    return Table(LEVELS, POINTS, CENTRES, shares, coefficients, cells)


def _shares(known: Errors) -> Floats:
    """Shares that minimise the mean absolute error, in units of what the curves' own noise and misses let expect.

    Least squares, reweighed until they are least absolute errors; a little ridge, because the laws say much the same.
    """
    step = max(len(known.later) // BROAD, 1)
    promises, change = known.promises[::step], (known.later - known.last)[::step]
    # Noise, misses and spread, as `calibration.features` has them.
    unit = np.exp(known.features[::step][:, [0, 2, 6]]).sum(axis=1) + LEAST_UNIT
    weights = known.weights()[::step]
    rows, wanted = promises / unit[:, None], change / unit
    shares, reweighed = np.zeros(promises.shape[1]), weights
    for _ in range(REWEIGHED):
        gram = rows.T @ (rows * reweighed[:, None])
        gram += RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
        shares = np.linalg.solve(gram, rows.T @ (wanted * reweighed))
        reweighed = weights / np.maximum(np.abs(wanted - rows @ shares), 0.05)
    return shares


def _scale(known: Errors, off: Floats, start: Floats | None) -> Floats:
    """Coefficients θ that minimise the mean of |error| / s + log s, s = exp(features · θ)."""
    step = max(len(off) // LIGHT, 1)
    features, size, weights = known.features[::step], np.abs(off[::step]) + FLOOR, known.weights()[::step]
    weights = weights / weights.sum()
    pull = np.append(np.full(features.shape[1] - 1, 1e-3), 0)

    def loss(theta: Floats) -> tuple[float, Floats]:
        scale = features @ theta
        ratio = size * np.exp(-scale)
        slope = features.T @ (weights * (1 - ratio)) + 2 * pull * theta
        return float(weights @ (ratio + scale) + pull @ theta**2), slope

    if start is None:
        start = np.append(np.zeros(features.shape[1] - 1), np.log(weights @ size))
    return np.asarray(minimize(loss, start, jac=True, method="L-BFGS-B").x)


def _quantiles(ratio: Floats, weights: Floats) -> Floats:
    order = ratio.argsort()
    upto = np.cumsum(weights[order])
    return np.interp(LEVELS, (upto - weights[order] / 2) / upto[-1], ratio[order])


def _mixed(ratio: Floats, weights: Floats, wider: Floats) -> Floats:
    if not len(ratio):
        return wider
    return (len(ratio) * _quantiles(ratio, weights) + SHRINKAGE * wider) / (len(ratio) + SHRINKAGE)


def document(table: Table) -> str:
    """The table as the package stores it."""
    rounded = {name: np.round(getattr(table, name), 4).tolist() for name in Table.__dataclass_fields__}
    rows = ",\n".join(f'  "{name}": {json.dumps(value)}' for name, value in rounded.items())
    return "{\n" + rows.replace("]], [[", "]],\n    [[") + "\n}\n"


def flat(tested: Sequence[Sequence[Backtest]]) -> list[Backtest]:
    """All prefixes in one list."""
    return list(chain.from_iterable(tested))
