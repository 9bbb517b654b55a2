"""Learning curves of others, as files: read, and written compactly. Not a benchmark itself.

Columns source,data_set,strategy,seed,labels,accuracy, one row a measurement; plain CSV or gzipped.
"""

from __future__ import annotations

import csv
import gzip
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO, cast

import numpy as np

from dalcli.forecasting.curves import Floats

OURS = sorted((Path(__file__).parent / "curves").glob("*.csv.gz"))
"""The curves that the packaged table is learned from; `benchmarks/curves/README.md` says whose they are."""
COLUMNS = ("source", "data_set", "strategy", "seed", "labels", "accuracy")


@dataclass(frozen=True)
class Trajectory:
    """One run: labels ascending and distinct [p], measured accuracy [p], and where it is from."""

    source: str
    data_set: str
    strategy: str
    seed: str
    labels: Floats
    value: Floats

    @property
    def pictures(self) -> str:
        """The data set's name without its variant: what must be left out together (cifar10_eval is cifar10 again)."""
        return self.data_set.removesuffix("_eval")

    @property
    def active(self) -> bool:
        """Whether the labels' source compares ways of choosing; its random arm belongs to it."""
        return self.source.startswith("LabelBench") or self.strategy != "random"


def read(paths: Sequence[Path]) -> list[Trajectory]:
    """All trajectories of some files; measurements of one size are averaged.

    Raises:
        SystemExit: naming the file, and the line that is wrong.
    """
    found: dict[tuple[str, ...], dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for path in paths:
        for row in _rows(path):
            key = tuple(row[column] for column in COLUMNS[:4])
            found[key][float(row["labels"])].append(float(row["accuracy"]))
    return [
        Trajectory(*key, np.array(sorted(sizes)), np.array([np.mean(sizes[size]) for size in sorted(sizes)]))
        for key, sizes in found.items()
    ]


def _rows(path: Path) -> Iterator[dict[str, str]]:
    """Rows whose numbers are numbers."""
    try:
        with _opened(path) as file:
            reader = csv.DictReader(file)
            missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
            if missing:
                raise SystemExit(f"{path}: no column {', '.join(missing)}; there must be {','.join(COLUMNS)}")
            for row in reader:
                if (problem := _problem(row)) is not None:
                    raise SystemExit(f"{path}:{reader.line_num}: {problem}")
                yield row
    except (OSError, UnicodeDecodeError) as error:
        raise SystemExit(f"{path}: cannot be read: {error}") from error


def _opened(path: Path) -> TextIO:
    """As spreadsheets write it, too: with a byte order mark."""
    if path.suffix == ".gz":
        return cast(TextIO, gzip.open(path, "rt", newline="", encoding="utf-8-sig"))
    return path.open(newline="", encoding="utf-8-sig")


def _problem(row: Mapping[str, str | None]) -> str | None:
    if any(row[column] is None for column in COLUMNS):
        return f"fewer than {len(COLUMNS)} values"
    try:
        labels, accuracy = float(row["labels"] or ""), float(row["accuracy"] or "")
    except ValueError:
        return f"labels {row['labels']!r} and accuracy {row['accuracy']!r} must be numbers"
    if not 1 <= labels < np.inf or labels != round(labels):
        return f"labels {row['labels']} must be a whole number, 1 or more"
    return None if 0 <= accuracy <= 1 else f"accuracy {row['accuracy']} must lie in [0, 1]: a share, not per cent"
