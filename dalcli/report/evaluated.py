"""The newest measured version class by class: recall and shortfall, and what is taken for what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dalcli.evaluation.intervals import wilson
from dalcli.planning.result import ClassShortfall
from dalcli.report.contents import ClassRow, Confused, Evaluation
from dalcli.state import classes, evaluations
from dalcli.state.database import Connection
from dalcli.state.evaluations import Measurement

MOST_CELLS_A_SIDE = 20
"""A larger matrix is read by nobody: the most confused pairs stand for it."""
PAIRS = 20


@dataclass(frozen=True, eq=False)
class Measured:
    """The newest measurement in today's classes: ``confusion`` (K, K) over all positions, merged ones empty."""

    measurement: Measurement
    confusion: NDArray[np.int64]
    names: tuple[str, ...]
    counted_as: tuple[int, ...]

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """(true, predicted) positions by how often they were confused, most often first."""
        wrong = self.confusion.copy()
        np.fill_diagonal(wrong, 0)
        rows, columns = np.nonzero(wrong)
        order = np.lexsort((columns, rows, -wrong[rows, columns]))
        return list(zip(rows[order].tolist(), columns[order].tolist(), strict=True))


def newest(connection: Connection) -> Measured | None:
    """The newest measured version, with what it said of single images where that was kept."""
    version = evaluations.newest_version(connection)
    found = None if version is None else evaluations.newest_of(connection, version)
    if found is None:
        return None
    names, merged = classes.names(connection), classes.counted_as(connection)
    return Measured(found, _today(found.report, merged), names, merged)


def evaluation(measured: Measured) -> Evaluation:
    """What a report shows of it."""
    report: Mapping[str, Any] = measured.measurement.report
    shown = [k for k, target in enumerate(measured.counted_as) if k == target]
    matrix = None
    if len(shown) <= MOST_CELLS_A_SIDE and measured.confusion.any():
        matrix = tuple(tuple(int(n) for n in row) for row in measured.confusion[np.ix_(shown, shown)])
    support = measured.confusion.sum(axis=1)
    return Evaluation(
        version=measured.measurement.version,
        examples=report["examples"],
        accuracy=report["accuracy"],
        ece=report.get("ece"),
        matrix_classes=tuple(measured.names[k] for k in shown),
        matrix=matrix,
        pairs=tuple(
            Confused(measured.names[i], measured.names[j], int(measured.confusion[i, j]), int(support[i]))
            for i, j in measured.pairs[:PAIRS]
        ),
    )


def class_rows(
    labels: Mapping[str, int], measured: Measured | None, shortfalls: Sequence[ClassShortfall], level: float
) -> tuple[ClassRow, ...]:
    """Every class of today: those below what is wanted first, worst first, then in the order of the classes."""
    below = {each.name: each.below for each in shortfalls}
    rows = [_row(name, count, measured, below.get(name), level) for name, count in labels.items()]
    return tuple(sorted(rows, key=lambda row: -(row.below or 0.0)))


def _row(name: str, labels: int, measured: Measured | None, below: float | None, level: float) -> ClassRow:
    support, predicted, correct = (0, 0, 0) if measured is None else _counts(measured, name)
    interval = wilson(correct, support, level) if support else None
    return ClassRow(
        name=name,
        labels=labels,
        support=support,
        recall=correct / support if support else None,
        low=None if interval is None else interval.low,
        high=None if interval is None else interval.high,
        precision=correct / predicted if predicted else None,
        below=below,
    )


def _counts(measured: Measured, name: str) -> tuple[int, int, int]:
    k = measured.names.index(name)
    confusion = measured.confusion
    return int(confusion[k].sum()), int(confusion[:, k].sum()), int(confusion[k, k])


def _today(report: Mapping[str, Any], merged: Sequence[int]) -> NDArray[np.int64]:
    """The confusion matrix with classes that were merged since added to those they count as now."""
    size = len(merged)
    found = np.zeros((size, size), np.int64)
    then = np.asarray(report.get("confusion", ()), np.int64)
    if then.ndim == 2:
        positions = np.asarray(merged[: len(then)], np.int64)
        np.add.at(found, (positions[:, None], positions[None, :]), then)
    return found
