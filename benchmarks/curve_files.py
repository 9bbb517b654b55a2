"""Learning curves of others, as files: read, and written compactly. Not a benchmark itself.

Columns source,data_set,strategy,seed,labels,accuracy, one row a measurement; plain CSV or gzipped.
"""

from __future__ import annotations

import csv
import gzip
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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
    """All trajectories of some files; measurements of one size are averaged."""
    found: dict[tuple[str, ...], dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for path in paths:
        with gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="") as file:
            for row in csv.DictReader(file):
                key = tuple(row[column] for column in COLUMNS[:4])
                found[key][float(row["labels"])].append(float(row["accuracy"]))
    return [
        Trajectory(*key, np.array(sorted(sizes)), np.array([np.mean(sizes[size]) for size in sorted(sizes)]))
        for key, sizes in found.items()
    ]
