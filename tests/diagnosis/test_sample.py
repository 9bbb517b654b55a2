"""Which images stand for the sets, and that what could not be read leaves the others in their places."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dalcli.data.pixels import ArrayPixels
from dalcli.diagnosis.images import DecodedImages
from dalcli.diagnosis.sample import KernelSample, PoolSample
from dalcli.diagnosis.sets import Candidates, Sets
from dalcli.state.catalog import PoolImage


def images(*keys: int) -> list[PoolImage]:
    return [PoolImage(key, f"s-{key}", ()) for key in keys]


def keys(found: Any) -> list[int]:
    return [image.key for image in found]


def sets(**others: Any) -> Sets:
    """S is 0 to 9, of which S0 is even; the pool is 10 to 29; labels of 20 to 24 and of 30 to 34 are known."""
    known = [*range(20, 25), *range(30, 35)]
    given: dict[str, Any] = {
        "model": None,
        "newer_labels": 0,
        "labels": {key: key % 3 for key in range(10)},
        "initial": frozenset(range(0, 10, 2)),
        "labeled": images(*range(10)),
        "pool": images(*range(10, 30)),
        "scores": None,
        "budget": 4,
        "candidates": Candidates("labels file", images(*known), {key: key % 3 for key in known}),
    }
    return Sets(**given | others)


def decoded(*there: int) -> DecodedImages:
    pixels = np.arange(40, dtype=np.uint8)[:, None, None, None].repeat(3, axis=3)
    return DecodedImages(ArrayPixels(pixels), {key: key for key in there}, None)


def rows(sample: KernelSample, name: str) -> list[int]:
    return [sample.images[row].key for row in getattr(sample, name)]


def test_small_sets_are_taken_whole_and_each_image_once() -> None:
    found = KernelSample.draw(sets(), 64, seed=1)
    assert keys(found.images) == list(range(35))
    assert rows(found, "labeled") == list(range(10))
    assert rows(found, "initial") == [0, 2, 4, 6, 8]
    assert rows(found, "pool") == list(range(10, 30))
    assert rows(found, "candidates") == [*range(20, 25), *range(30, 35)]
    assert found.classes(found.labeled, sets().labels).tolist() == [key % 3 for key in range(10)]


def test_large_sets_are_sampled_in_their_order() -> None:
    found = KernelSample.draw(sets(), 5, seed=1)
    for name, whole in (("labeled", range(10)), ("pool", range(10, 30))):
        drawn = rows(found, name)
        assert len(drawn) == 5
        assert drawn == sorted(set(drawn) & set(whole))
    assert rows(found, "initial") == [key for key in rows(found, "labeled") if key % 2 == 0]
    assert rows(KernelSample.draw(sets(), 5, seed=1), "pool") == rows(found, "pool")
    assert any(rows(KernelSample.draw(sets(), 5, seed=seed), "pool") != rows(found, "pool") for seed in range(2, 6))


def test_what_cannot_be_read_leaves_every_set() -> None:
    gone = {0, 3, 4, 17, 21, 30}
    found = KernelSample.draw(sets(), 64, seed=1).readable(decoded(*(key for key in range(35) if key not in gone)))
    assert keys(found.images) == [key for key in range(35) if key not in gone]
    assert rows(found, "labeled") == [1, 2, 5, 6, 7, 8, 9]
    assert rows(found, "initial") == [2, 6, 8]
    assert rows(found, "pool") == [key for key in range(10, 30) if key not in gone]
    assert rows(found, "candidates") == [20, 22, 23, 24, 31, 32, 33, 34]


@pytest.mark.parametrize(("budget", "expected"), [(4, 64), (50, 100)])
def test_the_pool_sample_grows_with_the_batches_in_question(budget: int, expected: int) -> None:
    found = PoolSample.draw(sets(pool=images(*range(10, 250)), budget=budget), 2, seed=0)
    assert (len(found.images), found.population) == (expected, 240)
    assert keys(found.images) == sorted(set(keys(found.images)))
    less = found.readable(decoded(*keys(found.images[1:])))
    assert (len(less.images), less.population) == (expected - 1, 240)


def test_pixels_are_those_of_the_images_asked_for() -> None:
    found = decoded(5, 7, 9)
    assert keys(found.readable(images(9, 6, 5))) == [9, 5]
    assert found.inputs(images(9, 5, 9))[:, 0, 0, 0].tolist() == [9, 5, 9]
