"""One processor thread in every test here."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    pass


@pytest.fixture(autouse=True)
def _downloads_allowed(monkeypatch: pytest.MonkeyPatch, _no_workspace_from_outside: None) -> None:
    """Tests here stand in for the network themselves."""
    monkeypatch.delenv("DALCLI_OFFLINE")
