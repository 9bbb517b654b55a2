"""What one seed makes of a data set: which images are for testing, which are the pool, what the labeler will answer.

Every choice is a keyed hash of the sample's content, so that it depends on the seed and on nothing else: not on the
order of files, and not on what other options leave in or out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dalcli.config.hashing import derive_seed, generator
from dalcli.config.words import counted
from dalcli.data.identity import tie_keys
from dalcli.errors import BadInputError
from dalcli.simulation.dataset import Dataset
from dalcli.simulation.schema import ImbalanceConfig, SimulationConfig

DEFAULT_TEST_FRACTION = 0.2
SampleRows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Draw:
    """Says what a seed made of the data set, as rows of it.

    ``answers`` has the class position that the labeler will say, per row of ``pool``.
    """

    pool: SampleRows
    test: SampleRows
    answers: SampleRows


def draw(dataset: Dataset, config: SimulationConfig, seed: int) -> Draw:
    """Split, thin out and mislabel.

    Raises:
        BadInputError: nothing is left for the pool or the test set.
    """
    test = _test_rows(dataset, config, seed)
    pool = np.setdiff1d(np.arange(len(dataset.samples)), test)
    if config.imbalance is not None:
        pool = _imbalanced(dataset, config.imbalance, pool, seed)
    pool = _at_most(dataset, pool, config.pool_size, seed, "pool")
    test = _at_most(dataset, test, config.test_size, seed, "test")
    for rows, name in ((pool, "pool"), (test, "test set")):
        if not len(rows):
            raise BadInputError(f"seed {seed}: no image is left for the {name}", "change test_fraction or imbalance")
    return Draw(pool, test, _answers(dataset, config, pool, seed))


def _order(dataset: Dataset, rows: SampleRows, seed: int, purpose: str) -> SampleRows:
    """``rows`` in the random order of one purpose."""
    keys = tie_keys(derive_seed(seed, "simulation", purpose), dataset.digests[rows])
    return rows[np.argsort(keys, kind="stable")]


def _test_rows(dataset: Dataset, config: SimulationConfig, seed: int) -> SampleRows:
    """The source's own test set, or the same fraction of every class (at least one image of it, never all)."""
    if config.test_fraction is None and dataset.has_test_split:
        return np.array([row for row, s in enumerate(dataset.samples) if s.split == "evaluation"], dtype=np.int64)
    fraction = config.test_fraction or DEFAULT_TEST_FRACTION
    chosen = []
    for rows in _by_class(dataset, np.arange(len(dataset.samples))):
        count = min(max(round(fraction * len(rows)), 1), len(rows) - 1)
        chosen.append(_order(dataset, rows, seed, "test")[:count])
    return np.sort(np.concatenate(chosen))


def _by_class(dataset: Dataset, rows: SampleRows) -> list[SampleRows]:
    labels = dataset.labels[rows]
    return [rows[labels == position] for position in range(len(dataset.classes))]


def _at_most(dataset: Dataset, rows: SampleRows, size: int | None, seed: int, purpose: str) -> SampleRows:
    if size is None or size >= len(rows):
        return rows
    return np.sort(_order(dataset, rows, seed, f"{purpose} size")[:size])


def _imbalanced(dataset: Dataset, config: ImbalanceConfig, rows: SampleRows, seed: int) -> SampleRows:
    parts = _by_class(dataset, rows)
    counts = class_counts(config, dataset.classes, [len(part) for part in parts], seed)
    kept = [_order(dataset, part, seed, "imbalance")[:count] for part, count in zip(parts, counts, strict=True)]
    return np.sort(np.concatenate(kept))


def class_counts(config: ImbalanceConfig, classes: tuple[str, ...], available: list[int], seed: int) -> list[int]:
    """How many images of each class the pool keeps: as many as the shape allows, at least one of each class.

    Exponential: n_k = n_0 · ratio^(−k/(K−1)); power: n_k = n_0 · (k+1)^(−a) with n_(K−1) = n_0/ratio.

    Raises:
        BadInputError: ``counts`` names a class that is not there, or asks for more than there is.
    """
    if config.counts is not None:
        return _listed_counts(config.counts, classes, available)
    total = len(classes)
    place = np.arange(total)
    if config.shape == "exponential":
        weights = config.ratio ** (-place / (total - 1))
    else:
        weights = (place + 1.0) ** (-np.log(config.ratio) / np.log(total))
    if config.shuffle:
        weights = weights[generator(seed, "simulation", "rare classes").permutation(total)]
    scale = min(count / weight for count, weight in zip(available, weights, strict=True))
    return [max(1, min(round(scale * weight), have)) for weight, have in zip(weights, available, strict=True)]


def _listed_counts(counts: dict[str, int], classes: tuple[str, ...], available: list[int]) -> list[int]:
    have = dict(zip(classes, available, strict=True))
    for name, count in counts.items():
        if name not in have:
            raise BadInputError(f"imbalance.counts: no class {name!r}", f"there are: {', '.join(classes)}")
        if count > have[name]:
            asked = counted(count, "image is", "images are")
            raise BadInputError(
                f"imbalance.counts.{name}: {asked} asked for, the pool has {have[name]}", "ask for fewer"
            )
    return [counts.get(name, count) for name, count in have.items()]


def _answers(dataset: Dataset, config: SimulationConfig, pool: SampleRows, seed: int) -> SampleRows:
    """The true classes, but for ``label_noise`` of them: another class, each equally likely."""
    truth = dataset.labels[pool]
    keys = tie_keys(derive_seed(seed, "simulation", "noise"), dataset.digests[pool])
    wrong = keys < np.uint64(config.label_noise * 2.0**64)
    others = np.uint64(len(dataset.classes) - 1)
    shift = tie_keys(derive_seed(seed, "simulation", "wrong class"), dataset.digests[pool]) % others
    return np.where(wrong, (truth + 1 + shift.astype(np.int64)) % len(dataset.classes), truth)
