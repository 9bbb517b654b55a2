"""What is kept of a cell: one row per round, in one file per cell that appears complete or not at all."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from dalcli.simulation.cells import Cell
from dalcli.state import atomic

FORMAT = 1


@dataclass(frozen=True)
class Seconds:
    """Holds the wall-clock time of one round's commands."""

    select: float = 0.0
    train: float = 0.0
    score: float = 0.0
    evaluate: float = 0.0

    @property
    def total(self) -> float:
        return self.select + self.train + self.score + self.evaluate


@dataclass(frozen=True)
class RoundRecord:
    """Keeps what is to be known of one model of a cell: what it was trained on, how good it is, what it took.

    Attributes:
        round: 0 is the shared start.
        labels: training labels the model saw.
        accuracy, macro_accuracy: on the test set; the mean over classes of the fraction recognised.
        nll: mean negative log-likelihood in nats; None if infinite.
        test_images: size of the test set.
        picked: true class counts of this round's batch, in class order.
        labeled: the same of all labels so far.
        epochs, converged: of this round's training.
        seconds: ``select`` and ``score`` are those before this round's training; scoring for the first choice is shared
            by all strategies of a seed, and counted in each.
        interrupted: a killed run was continued here: ``seconds`` lacks what was done before.
    """

    round: int
    labels: int
    accuracy: float
    macro_accuracy: float | None
    nll: float | None
    test_images: int
    picked: tuple[int, ...]
    labeled: tuple[int, ...]
    epochs: int
    converged: bool
    seconds: Seconds
    interrupted: bool = False

    @property
    def picked_entropy(self) -> float:
        """Normalised entropy of this round's classes."""
        return balance(self.picked)

    @property
    def labeled_entropy(self) -> float:
        """Normalised entropy of all labels so far."""
        return balance(self.labeled)


def balance(counts: Sequence[int]) -> float:
    """Shannon entropy of class counts over log K: 1 is perfect balance, 0 a single class; NaN without images."""
    total = sum(counts)
    if not total:
        return math.nan
    entropy = -sum(count / total * math.log(count / total) for count in counts if count)
    return entropy / math.log(len(counts)) + 0.0


@dataclass(frozen=True)
class CellRecord:
    """Keeps the rounds of a cell so far, round 0 first."""

    rounds: tuple[RoundRecord, ...]

    def with_round(self, record: RoundRecord) -> CellRecord:
        """One round more."""
        return replace(self, rounds=(*self.rounds, record))

    def upto(self, rounds: int) -> CellRecord:
        """Without those after ``rounds``: a simulation may be asked for fewer than it has."""
        return replace(self, rounds=self.rounds[: rounds + 1])


def write(path: Path, record: CellRecord, about: dict[str, Any] | None = None) -> None:
    """Keep a record; ``about`` is for people who open the file."""
    document = {"format": FORMAT, **(about or {}), "rounds": [asdict(entry) for entry in record.rounds]}
    atomic.write_bytes(path, (json.dumps(document, ensure_ascii=False) + "\n").encode())


def read(path: Path) -> CellRecord | None:
    """What :func:`write` kept; None if there is nothing, or nothing that this release can read."""
    try:
        document = json.loads(path.read_bytes())
        if document["format"] != FORMAT:
            return None
        return CellRecord(tuple(_round(entry) for entry in document["rounds"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _round(entry: dict[str, Any]) -> RoundRecord:
    lists = {name: tuple(entry[name]) for name in ("picked", "labeled")}
    return RoundRecord(**{**entry, **lists, "seconds": Seconds(**entry["seconds"])})


CSV_COLUMNS = (
    "variant", "initial_choice", "batch_size", "strategy", "seed", "round", "labels", "accuracy", "macro_accuracy",
    "nll", "test_images", "picked_entropy", "picked_min", "picked_max", "labeled_entropy", "epochs", "converged",
    "select_seconds", "train_seconds", "score_seconds", "evaluate_seconds", "interrupted",
)  # fmt: skip


def csv_rows(cells: Iterable[tuple[Cell, CellRecord]]) -> list[tuple[object, ...]]:
    """Every round of every cell, in the order of the plan; round 0 repeats the shared start."""
    return [
        (
            cell.setting.variant,
            cell.setting.initial_choice,
            cell.setting.batch_size,
            cell.strategy,
            cell.seed,
            entry.round,
            entry.labels,
            entry.accuracy,
            entry.macro_accuracy,
            entry.nll,
            entry.test_images,
            round(entry.picked_entropy, 6),
            min(entry.picked),
            max(entry.picked),
            round(entry.labeled_entropy, 6),
            entry.epochs,
            int(entry.converged),
            *(round(s, 4) for s in (entry.seconds.select, entry.seconds.train)),
            *(round(s, 4) for s in (entry.seconds.score, entry.seconds.evaluate)),
            int(entry.interrupted),
        )
        for cell, record in cells
        for entry in record.rounds
    ]
