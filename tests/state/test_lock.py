"""One process at a time, whatever the one before came to."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from dalcli.errors import LockedError
from dalcli.state.lock import file_lock


def refusal() -> LockedError:
    return LockedError("somebody is there", "wait")


def test_the_second_one_is_told_what_the_first_one_does_and_an_error_opens_the_lock(tmp_path: Path) -> None:
    asked: list[str] = []

    def refusing() -> LockedError:
        asked.append("held" if held else "free")
        return refusal()

    held = True
    with pytest.raises(KeyError), file_lock(tmp_path / "lock", refusing):
        assert not asked
        with pytest.raises(LockedError, match="somebody is there"), file_lock(tmp_path / "lock", refusing):
            pytest.fail("both hold it")
        raise KeyError
    held = False
    with file_lock(tmp_path / "lock", refusing):
        pass
    assert asked == ["held"]


def test_who_may_wait_gets_the_lock_when_it_is_free(tmp_path: Path) -> None:
    with file_lock(tmp_path / "lock", refusal):
        waiting, got = threading.Event(), threading.Event()

        def wait() -> None:
            waiting.set()
            with file_lock(tmp_path / "lock", refusal, wait=60):
                got.set()

        thread = threading.Thread(target=wait)
        thread.start()
        assert waiting.wait(60)
        assert not got.is_set()
    thread.join(60)
    assert got.is_set()
