"""For all tests: no workspace of the developer, no deadline for an example, the same random weights in any order."""

from __future__ import annotations

import os
import sys

# Before torch is imported: waiting threads must not spin where several tests share the cores (see dalcli/cli/main.py).
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import pytest
from hypothesis import settings

# A machine that is busy with something else must not fail a test.
settings.register_profile("dalcli", deadline=None)
settings.load_profile("dalcli")


@pytest.fixture(autouse=True)
def _no_workspace_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DALCLI_WORKSPACE", raising=False)


@pytest.fixture(autouse=True)
def _same_weights_in_every_order() -> None:
    """Modules that a test builds start from the same weights, whatever ran before it."""
    torch = sys.modules.get("torch")  # most tests must not import it
    if torch is not None:
        torch.manual_seed(0)
