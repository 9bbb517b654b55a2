"""What a seed makes of a data set: splits, sizes, imbalance and noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dalcli.data.identity import sample_id
from dalcli.errors import BadInputError
from dalcli.simulation.dataset import Dataset, Sample
from dalcli.simulation.draw import Draw, class_counts, draw
from dalcli.simulation.schema import ImbalanceConfig, SimulationConfig

SIZES = {"ant": 40, "bee": 100, "cow": 20}


def dataset(split: bool = False) -> Dataset:
    samples = []
    for name, count in SIZES.items():
        for number in range(count):
            identity = sample_id(f"{name} {number}".encode())
            kind = ("evaluation" if number % 4 == 0 else "training") if split else None
            samples.append(Sample(identity, Path(f"{name}/{number}.png"), name, kind))
    return Dataset(tuple(sorted(samples, key=lambda sample: sample.sample_id)))


def config(**keys: Any) -> SimulationConfig:
    needed = {"source": "digits", "strategies": ["random"], "initial_labels": 2, "batch_sizes": 2, "rounds": 1}
    return SimulationConfig.model_validate(needed | keys)


def count(data: Dataset, rows: np.ndarray[Any, Any]) -> list[int]:
    return np.bincount(data.labels[rows], minlength=3).tolist()


def same(one: Draw, other: Draw) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("pool", "test", "answers"))


def test_test_set_is_the_same_fraction_of_every_class_and_another_for_every_seed() -> None:
    data = dataset()
    one = draw(data, config(test_fraction=0.25), 0)
    assert count(data, one.test) == [10, 25, 5]
    assert sorted([*one.pool, *one.test]) == list(range(160))
    assert same(one, draw(data, config(test_fraction=0.25), 0))
    assert not np.array_equal(one.test, draw(data, config(test_fraction=0.25), 1).test)


def test_the_sources_own_test_set_is_taken_unless_a_fraction_is_asked_for() -> None:
    data = dataset(split=True)
    own = draw(data, config(), 0)
    assert all(data.samples[row].split == "evaluation" for row in own.test)
    assert count(data, own.test) == [10, 25, 5]
    assert count(data, draw(data, config(test_fraction=0.5), 0).test) == [20, 50, 10]


def test_split_does_not_depend_on_other_options() -> None:
    data = dataset()
    plain = draw(data, config(), 3)
    other = draw(data, config(pool_size=30, label_noise=0.5, imbalance={"shape": "power", "ratio": 4}), 3)
    assert np.array_equal(plain.test, other.test)
    assert set(other.pool) <= set(plain.pool)
    assert len(other.pool) == 30
    smaller = draw(data, config(test_size=7), 3)
    assert len(smaller.test) == 7
    assert np.array_equal(smaller.pool, plain.pool)


def test_noise_is_another_class_at_the_rate_asked_for_and_never_touches_the_test_set() -> None:
    data = dataset()
    clean, noisy = draw(data, config(), 1), draw(data, config(label_noise=0.3), 1)
    truth = data.labels[noisy.pool]
    assert np.array_equal(clean.answers, truth)
    wrong = noisy.answers != truth
    assert 0.18 < wrong.mean() < 0.42
    assert set(noisy.answers) <= {0, 1, 2}
    assert len(set(((noisy.answers - truth) % 3)[wrong])) == 2  # either of the others


@pytest.mark.parametrize(
    ("shape", "expected"),
    [("exponential", [80.0, 80 / 10**0.5, 8.0]), ("power", [80.0, 80 * 2 ** -(np.log(10) / np.log(3)), 8.0])],
)
def test_imbalance_follows_its_formula(shape: str, expected: list[float]) -> None:
    wanted = ImbalanceConfig.model_validate({"shape": shape, "ratio": 10, "shuffle": False})
    assert class_counts(wanted, ("a", "b", "c"), [80, 90, 100], 0) == [round(number) for number in expected]
    few = class_counts(wanted, ("a", "b", "c"), [80, 90, 4], 0)
    assert few[2] == 4
    assert few[0] == 40  # the rare class has few: the others shrink with it
    shuffled = ImbalanceConfig.model_validate({"shape": shape, "ratio": 10})
    orders = {tuple(class_counts(shuffled, ("a", "b", "c"), [90, 90, 90], seed)) for seed in range(20)}
    assert len(orders) == 6


def test_listed_counts_are_kept_and_checked() -> None:
    data = dataset()
    drawn = draw(data, config(imbalance={"counts": {"bee": 3}}), 0)
    assert count(data, drawn.pool) == [32, 3, 16]
    with pytest.raises(BadInputError, match="no class 'dog'"):
        draw(data, config(imbalance={"counts": {"dog": 3}}), 0)
    with pytest.raises(BadInputError, match="cow: 17 images are asked for, the pool has 16"):
        draw(data, config(imbalance={"counts": {"cow": 17}}), 0)


def test_classes_are_sorted_numbers_by_value() -> None:
    names = ["10", "9", "b", "a"]
    samples = [Sample(sample_id(n.encode()), Path(n), n, None) for n in names]
    assert Dataset(tuple(samples)).classes == ("9", "10", "a", "b")
