"""A file is there complete or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from dalcli.state import atomic


def test_content_replaces_content(tmp_path: Path) -> None:
    target = tmp_path / "file"
    atomic.write_bytes(target, b"one")
    atomic.write_bytes(target, b"two")
    assert target.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_writer_that_fails_leaves_everything_as_it_was(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"one")

    def failing(temporary: Path) -> None:
        temporary.write_bytes(b"half")
        raise error

    with pytest.raises(type(error)):
        atomic.write_via(target, failing)
    assert target.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [target]


def test_the_target_appears_only_when_the_writer_is_done(tmp_path: Path) -> None:
    target = tmp_path / "file"
    atomic.write_via(
        target, lambda temporary: (temporary.write_bytes(b"x"), not target.exists() or pytest.fail("early"))
    )
    assert target.read_bytes() == b"x"
