"""Order, batches and augmentation: functions of (seed, version, epoch) alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dalcli.config.training import TrainingConfig
from dalcli.data.pixels import ArrayPixels
from dalcli.training import augment
from dalcli.training.batches import TrainingData, order, split, training_batches


@given(st.integers(1, 200), st.integers(1, 70))
def test_batches_hold_every_row_once_and_never_a_lone_last_one(count: int, size: int) -> None:
    rows = np.random.default_rng(count).permutation(count)
    batches = split(rows, size)
    assert np.array_equal(np.concatenate(batches), rows)
    assert all(len(batch) == size for batch in batches[:-1])
    assert len(batches[-1]) <= size + 1
    if size > 1 and count > 1:
        assert len(batches[-1]) > 1


def test_65_images_in_batches_of_64_are_one_batch() -> None:
    assert [len(batch) for batch in split(np.arange(65), 64)] == [65]
    assert [len(batch) for batch in split(np.arange(66), 64)] == [64, 2]
    assert [len(batch) for batch in split(np.arange(1), 64)] == [1]
    assert [len(batch) for batch in split(np.arange(3), 1)] == [1, 1, 1]


def test_order_is_a_permutation_that_changes_with_every_part() -> None:
    base = order(50, seed=1, version="v1", epoch=1)
    assert np.array_equal(np.sort(base), np.arange(50))
    assert np.array_equal(base, order(50, 1, "v1", 1))
    for other in (order(50, 2, "v1", 1), order(50, 1, "v2", 1), order(50, 1, "v1", 2)):
        assert not np.array_equal(base, other)


def shifted(image: np.ndarray, flip: bool, down: int, right: int) -> np.ndarray:
    """Oracle: flip, pad by mirroring, cut out."""
    height, width, _ = image.shape
    image = image[:, ::-1] if flip else image
    padded = np.pad(image, ((8, 8), (8, 8), (0, 0)), mode="reflect")
    return padded[8 - down : 8 - down + height, 8 - right : 8 - right + width]


def test_augmentation_equals_pad_crop_and_flip() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (40, 24, 33, 3), dtype=np.uint8)
    drawn = augment.draw("crop-flip", 40, (24, 33), rng)
    assert drawn is not None
    rows = rng.permutation(40)[:25]
    got = drawn.apply(pixels[rows], rows)
    for image, row in zip(got, rows, strict=True):
        expected = shifted(pixels[row], bool(drawn.flipped[row]), int(drawn.down[row]), int(drawn.right[row]))
        assert np.array_equal(image, expected)
    assert set(drawn.down) == set(range(-3, 4))
    assert set(drawn.right) == set(range(-4, 5))


def test_flip_only_flips_about_half_and_tiny_images_are_not_shifted() -> None:
    flips = augment.draw("flip", 1000, (32, 32), np.random.default_rng(1))
    assert flips is not None
    assert 400 < flips.flipped.sum() < 600
    assert not flips.down.any()
    assert not flips.right.any()
    tiny = augment.draw("crop-flip", 5, (1, 1), np.random.default_rng(1))
    assert tiny is not None
    image = np.full((5, 1, 1, 3), 9, np.uint8)
    assert np.array_equal(tiny.apply(image, np.arange(5)), image)
    assert augment.draw("none", 5, (8, 8), np.random.default_rng(1)) is None


def test_an_images_augmentation_does_not_depend_on_the_batch_size() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (30, 16, 16, 3), dtype=np.uint8)
    data = TrainingData(ArrayPixels(pixels), np.arange(30))
    seen = []
    for size in (4, 30):
        settings = TrainingConfig(augmentation="crop-flip", batch_size=size)
        batches = list(training_batches(data, settings, seed=1, version="v1", epoch=3))
        images, labels = (np.concatenate([batch[part] for batch in batches]) for part in (0, 1))
        seen.append((images, labels))
    assert np.array_equal(seen[0][1], seen[1][1])
    assert np.array_equal(seen[0][0], seen[1][0])
    assert not np.array_equal(seen[0][0], pixels[seen[0][1]])


def test_labels_must_match_the_images() -> None:
    with pytest.raises(ValueError, match="2 images, but labels of shape"):
        TrainingData(ArrayPixels(np.zeros((2, 1, 1, 3), np.uint8)), np.zeros(3, np.int64))
