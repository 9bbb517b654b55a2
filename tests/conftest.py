"""For all tests: no workspace of the developer is ever meant, and no deadline for a single example."""

from __future__ import annotations

import os

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
