"""For all tests: no workspace of the developer is ever meant."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _no_workspace_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DALCLI_WORKSPACE", raising=False)
