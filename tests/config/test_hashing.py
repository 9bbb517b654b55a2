"""Derived randomness and names of settings: the same everywhere, for ever."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from dalcli.config.hashing import derive_seed, fingerprint, generator
from dalcli.config.schema import Config
from dalcli.config.training import TrainingConfig


def test_a_seed_is_the_hash_of_its_parts() -> None:
    digest = hashlib.sha256(json.dumps([3, "query", "b-0001"], separators=(",", ":")).encode()).hexdigest()
    assert derive_seed(3, "query", "b-0001") == int(digest[:16], 16) >> 1


@pytest.mark.parametrize("other", [(1, "a", 1), (0, "b", 1), (0, "a", 2), (0, "a", "1"), (0, "a"), (0, "a", 1, 0)])
def test_every_part_matters(other: tuple[int | str, ...]) -> None:
    assert derive_seed(0, "a", 1) != derive_seed(*other)  # type: ignore[arg-type]
    assert 0 <= derive_seed(*other) < 2**63  # type: ignore[arg-type]


def test_generators_repeat_themselves_only() -> None:
    assert generator(1, "x").random() == generator(1, "x").random() != generator(1, "y").random()
    assert isinstance(generator(1, "x"), np.random.Generator)


def test_a_fingerprint_changes_with_any_setting() -> None:
    first = fingerprint(Config(), (4, 4), None)
    assert first == fingerprint(Config(), (4, 4), None)
    assert len(first) == 16
    others = {
        fingerprint(Config(training=TrainingConfig(learning_rate=0.002)), (4, 4), None),
        fingerprint(Config(), (4, 5), None),
        fingerprint(Config(), (4, 4), ""),
    }
    assert len(others | {first}) == 4
