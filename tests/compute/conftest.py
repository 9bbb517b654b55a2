"""One workspace of every stage per session; tests work on copies of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.compute.small_pools import SmallPool, copied, make_pool

LABELED = 14


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def _labeled(tmp_path_factory: pytest.TempPathFactory) -> SmallPool:
    pool = make_pool(tmp_path_factory.mktemp("labeled") / "w")
    pool.label(pool.pool()[:LABELED])
    return pool


@pytest.fixture(scope="session")
def _trained(_labeled: SmallPool, tmp_path_factory: pytest.TempPathFactory) -> SmallPool:
    pool = copied(_labeled, tmp_path_factory.mktemp("trained") / "w")
    pool.ok("train")
    return pool


@pytest.fixture(scope="session")
def _scored(_trained: SmallPool, tmp_path_factory: pytest.TempPathFactory) -> SmallPool:
    pool = copied(_trained, tmp_path_factory.mktemp("scored") / "w")
    pool.ok("score")
    return pool


@pytest.fixture
def labeled(_labeled: SmallPool, tmp_path: Path) -> SmallPool:
    """14 of about 36 training samples are labeled; there is no model."""
    return copied(_labeled, tmp_path / "labeled")


@pytest.fixture
def trained(_trained: SmallPool, tmp_path: Path) -> SmallPool:
    """m-0001 has been trained on the 14 labels."""
    return copied(_trained, tmp_path / "trained")


@pytest.fixture
def scored(_scored: SmallPool, tmp_path: Path) -> SmallPool:
    """m-0001 has scored the pool."""
    return copied(_scored, tmp_path / "scored")
