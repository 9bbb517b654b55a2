"""What a first batch is worth: labels chosen by pixels alone, on scikit-learn's digits.

    python benchmarks/cold_start.py [--seeds N] [--labels N ...]

For every strategy that works before there is a model: the share of all 1,797 pictures whose nearest labeled neighbour,
in the same features, is the same digit; per cent, mean and standard deviation over seeds. numpy and scikit-learn only.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from dalcli.config.querying import QueryConfig
from dalcli.data.pixel_features import COMPONENTS, PixelProjection, descriptions
from dalcli.scores.samples import SampleSet
from dalcli.strategies.base import Request
from dalcli.strategies.memory_table import MemoryTable
from dalcli.strategies.registry import create

STRATEGIES = ("random", "coreset", "typiclust", "maxherding")


def chosen(strategy: str, table: MemoryTable, digests: np.ndarray, budget: int, seed: int) -> np.ndarray:
    """Rows of ``digests`` that ``strategy`` asks first."""
    request = Request(budget=budget, eligible=SampleSet(digests), seed=seed, table=table)
    selection = create(strategy, QueryConfig()).select(request)
    rows = {bytes(digest): row for row, digest in enumerate(digests)}
    return np.array([rows[bytes(digest)] for digest in selection.digests])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--labels", type=int, nargs="+", default=[10, 20, 40])
    options = parser.parse_args(arguments)
    images, truth = load_digits(return_X_y=True)
    grey = np.round(images.reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    described = descriptions(np.repeat(grey, 3, axis=3))
    features = PixelProjection.of(described, COMPONENTS).features(described)
    digests = np.random.default_rng(0).integers(0, 256, (len(grey), 16), dtype=np.uint8)
    table = MemoryTable(digests, {"features": features})
    print("strategy    " + "".join(f"{count:>8d} labels" for count in options.labels))
    for strategy in STRATEGIES:
        cells = []
        for count in options.labels:
            found = []
            for seed in range(options.seeds):
                asked = chosen(strategy, table, digests, count, seed)
                nearest = KNeighborsClassifier(1).fit(features[asked], truth[asked])
                found.append(100 * nearest.score(features, truth))
            cells.append(f"{np.mean(found):9.1f} ± {np.std(found):3.1f}")
        print(f"{strategy:12s}" + "".join(cells), flush=True)


if __name__ == "__main__":
    main()
