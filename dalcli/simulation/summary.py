"""From the rows of finished cells to what people ask: who is best, by how much, how surely, at what price."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dalcli.scores.columns import Floats
from dalcli.simulation.cells import Cell, Setting
from dalcli.simulation.records import CellRecord, RoundRecord, Seconds
from dalcli.simulation.statistics.comparison import Estimate, Needed, estimate, needed
from dalcli.simulation.statistics.curves import area

Records = Mapping[str, CellRecord]


@dataclass(frozen=True)
class Versus:
    """Holds paired differences to another strategy: in area under the curve, and in accuracy at every label count."""

    strategy: str
    area: Estimate | None
    accuracy: tuple[Estimate | None, ...]


@dataclass(frozen=True)
class StrategySummary:
    """Says how one strategy did in one setting.

    Attributes:
        accuracy: one estimate per label count of the setting; None where no cell has got so far.
        area: normalised area under the learning curve (a mean accuracy).
        macro_accuracy: at the last label count.
        balance: normalised entropy of all labels at the last count, and of an average batch.
        seconds: mean of a round, by kind of work; None before a round was finished without interruption.
        converged: fraction of the rounds' trainings that converged.
    """

    strategy: str
    cells: int
    done: int
    accuracy: tuple[Estimate | None, ...]
    area: Estimate | None
    macro_accuracy: Estimate | None
    balance: Estimate | None
    batch_balance: Estimate | None
    versus_baseline: Versus | None
    versus_best_other: Versus | None
    needed: tuple[Needed | None, ...]
    seconds: Seconds | None
    converged: float | None


@dataclass(frozen=True)
class SettingSummary:
    """Puts all strategies side by side where everything else is the same."""

    setting: Setting
    labels: tuple[int, ...]
    test_images: int | None
    strategies: tuple[StrategySummary, ...]


@dataclass(frozen=True)
class Question:
    """Says what is to be found out, besides means."""

    baseline: str
    accuracies: tuple[float, ...]
    level: float


def summarise(cells: Sequence[Cell], records: Records, question: Question) -> tuple[SettingSummary, ...]:
    """One summary per setting, in the order of the plan; cells that are not in ``records`` count as not done."""
    settings = list(dict.fromkeys(cell.setting for cell in cells))
    return tuple(
        _setting(setting, [cell for cell in cells if cell.setting == setting], records, question)
        for setting in settings
    )


def _setting(setting: Setting, cells: Sequence[Cell], records: Records, question: Question) -> SettingSummary:
    first = cells[0]
    labels = tuple(first.base.initial_labels + setting.batch_size * number for number in range(first.rounds + 1))
    seeds = list(dict.fromkeys(cell.seed for cell in cells))
    names = list(dict.fromkeys(cell.strategy for cell in cells))
    groups = {name: _Group([c for c in cells if c.strategy == name], seeds, records) for name in names}
    table = _Table(np.array(labels, dtype=np.float64), groups, question)
    tests = [entry.test_images for group in groups.values() for entry in group.entries]
    return SettingSummary(setting, labels, min(tests, default=None), tuple(table.strategy(name) for name in names))


class _Group:
    """All seeds of one strategy: a row per seed, a column per round, NaN where there is nothing yet."""

    def __init__(self, cells: Sequence[Cell], seeds: Sequence[int], records: Records) -> None:
        self.cells, self.rounds = len(cells), cells[0].rounds
        self.by_seed = {
            cell.seed: records[cell.name].upto(cell.rounds).rounds for cell in cells if cell.name in records
        }
        self.done = sum(len(rounds) > self.rounds for rounds in self.by_seed.values())
        self.entries = [entry for rounds in self.by_seed.values() for entry in rounds]
        self.accuracy = np.full((len(seeds), self.rounds + 1), np.nan)
        for row, seed in enumerate(seeds):
            for entry in self.by_seed.get(seed, ()):
                self.accuracy[row, entry.round] = entry.accuracy

    def at_end(self, name: str) -> Floats:
        """An attribute of the last round, of the seeds that have it; None there counts as missing."""
        ends = [rounds[-1] for rounds in self.by_seed.values() if len(rounds) > self.rounds]
        values = [getattr(entry, name) for entry in ends]
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)

    def batch_balance(self) -> Floats:
        """(seeds,) mean over the rounds that the strategy chose."""
        chosen = [[e.picked_entropy for e in rounds if e.round] for rounds in self.by_seed.values()]
        return np.array([np.mean(values) for values in chosen if values], dtype=np.float64)

    def seconds(self) -> Seconds | None:
        """Mean of the rounds that the strategy chose; interrupted ones lack what was done before."""
        timed = [entry for entry in self.entries if entry.round and not entry.interrupted]
        return _mean_seconds(timed) if timed else None

    def converged(self) -> float | None:
        own = [entry.converged for entry in self.entries if entry.round]
        return sum(own) / len(own) if own else None


def _mean_seconds(entries: Sequence[RoundRecord]) -> Seconds:
    kinds = ("select", "train", "score", "evaluate")
    return Seconds(**{kind: float(np.mean([getattr(entry.seconds, kind) for entry in entries])) for kind in kinds})


@dataclass(frozen=True)
class _Table:
    """The strategies of a setting, to be compared."""

    labels: Floats
    groups: Mapping[str, _Group]
    question: Question

    def strategy(self, name: str) -> StrategySummary:
        group, level = self.groups[name], self.question.level
        baseline = self.groups.get(self.question.baseline) if name != self.question.baseline else None
        other = self._best_other(name)
        return StrategySummary(
            strategy=name,
            cells=group.cells,
            done=group.done,
            accuracy=tuple(estimate(column, level) for column in group.accuracy.T),
            area=estimate(self._areas(name), level),
            macro_accuracy=estimate(group.at_end("macro_accuracy"), level),
            balance=estimate(group.at_end("labeled_entropy"), level),
            batch_balance=estimate(group.batch_balance(), level),
            versus_baseline=None if baseline is None else self._versus(name, self.question.baseline),
            versus_best_other=None if other is None else self._versus(name, other),
            needed=tuple(
                needed(self.labels, group.accuracy, None if baseline is None else baseline.accuracy, target, level)
                for target in self.question.accuracies
            ),
            seconds=group.seconds(),
            converged=group.converged(),
        )

    def _areas(self, name: str) -> Floats:
        """(seeds,) in [0, 1]; NaN for curves with a gap."""
        return area(self.labels, self.groups[name].accuracy)

    def _best_other(self, name: str) -> str | None:
        """The other strategy with the largest mean area, on the seeds that all finished strategies share if any."""
        found = {other: self._areas(other) for other in self.groups}
        found = {other: values for other, values in found.items() if not np.isnan(values).all()}
        shared = ~np.isnan(np.array(list(found.values()))).any(axis=0) if found else np.zeros(0, bool)
        means = {
            other: float(values[shared].mean() if shared.any() else np.nanmean(values))
            for other, values in found.items()
            if other != name
        }
        return max(means, key=lambda other: means[other]) if means and name in found else None

    def _versus(self, name: str, other: str) -> Versus:
        level = self.question.level
        ours, theirs = self.groups[name].accuracy, self.groups[other].accuracy
        return Versus(
            other,
            estimate(self._areas(name) - self._areas(other), level),
            tuple(estimate(column, level) for column in (ours - theirs).T),
        )
