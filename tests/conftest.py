"""For all tests: no workspace of the developer, no deadline for an example, the same random weights in any order.

And one small workspace of every stage of a round per session; tests work on copies of them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

# Before torch is imported: waiting threads must not spin where several tests share the cores (see dalcli/cli/main.py).
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tests.small_pools import SmallPool

LABELED = 14

# A machine that is busy with something else must not fail a test.
settings.register_profile("dalcli", deadline=None)
settings.load_profile("dalcli")


@pytest.fixture(autouse=True)
def _no_workspace_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DALCLI_WORKSPACE", raising=False)
    monkeypatch.setenv("DALCLI_OFFLINE", "1")  # no test waits for a network


@pytest.fixture(autouse=True)
def _same_weights_in_every_order() -> None:
    """Modules that a test builds start from the same weights, whatever ran before it."""
    torch = sys.modules.get("torch")  # most tests must not import it
    if torch is not None:
        torch.manual_seed(0)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Tests share few cores: one thread each is fastest."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def _labeled(tmp_path_factory: pytest.TempPathFactory) -> SmallPool:
    from tests.small_pools import make_pool

    pool = make_pool(tmp_path_factory.mktemp("labeled") / "w")
    pool.label(pool.pool()[:LABELED])
    return pool


@pytest.fixture(scope="session")
def _trained(_labeled: SmallPool, tmp_path_factory: pytest.TempPathFactory) -> SmallPool:
    from tests.small_pools import copied

    pool = copied(_labeled, tmp_path_factory.mktemp("trained") / "w")
    pool.ok("train")
    return pool


@pytest.fixture(scope="session")
def _scored(_trained: SmallPool, tmp_path_factory: pytest.TempPathFactory) -> SmallPool:
    from tests.small_pools import copied

    pool = copied(_trained, tmp_path_factory.mktemp("scored") / "w")
    pool.ok("score", "--full")
    return pool


@pytest.fixture
def labeled(_labeled: SmallPool, tmp_path: Path) -> SmallPool:
    """14 of about 36 training samples are labeled; there is no model."""
    from tests.small_pools import copied

    return copied(_labeled, tmp_path / "labeled")


@pytest.fixture
def trained(_trained: SmallPool, tmp_path: Path) -> SmallPool:
    """m-0001 has been trained on the 14 labels."""
    from tests.small_pools import copied

    return copied(_trained, tmp_path / "trained")


@pytest.fixture
def scored(_scored: SmallPool, tmp_path: Path) -> SmallPool:
    """m-0001 has scored the pool."""
    from tests.small_pools import copied

    return copied(_scored, tmp_path / "scored")
