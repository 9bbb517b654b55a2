"""Logs of JSON lines: a line is there whole or not at all, and files do not grow for ever."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from dalcli.state.journal import Journal


def numbers(path: Path) -> list[int]:
    return [json.loads(line)["n"] for line in path.read_text().splitlines()]


def test_lines_are_appended_in_order(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "sub" / "log.jsonl")
    assert list(journal.documents()) == []
    for number in range(3):
        journal.append({"n": number, "name": "é\n\udcff"})
    assert [found["n"] for found in journal.documents()] == [0, 1, 2]
    assert len(journal.path.read_bytes().splitlines()) == 3


@pytest.mark.parametrize("torn", [b'{"n": 1', b'{"n": 1}', b"\x00" * 5000])
def test_a_torn_line_is_dropped_by_the_next_one(tmp_path: Path, torn: bytes) -> None:
    journal = Journal(tmp_path / "log.jsonl")
    journal.append({"n": 0})
    with journal.path.open("ab") as file:
        file.write(torn)
    journal.append({"n": 2})
    assert numbers(journal.path) == [0, 2]


def test_a_torn_line_alone_is_dropped_too(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "log.jsonl")
    journal.path.write_bytes(b'{"n"')
    journal.append({"n": 2})
    assert numbers(journal.path) == [2]


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "log.jsonl")
    journal.append({"n": 0})
    before, real, calls = journal.path.read_bytes(), os.write, [4]

    def write(descriptor: int, data: bytes) -> int:
        if not calls:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, data[: calls.pop()])

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError, match="No space"):
        journal.append({"n": 1})
    assert journal.path.read_bytes() == before


def test_rotation_keeps_the_newest(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "log.jsonl", most_bytes=30, keep=2)
    for number in range(100, 110):  # three lines of 11 bytes do not fit
        journal.append({"n": number})
    assert numbers(journal.path) == [108, 109]
    assert numbers(tmp_path / "log.jsonl.1") == [106, 107]
    assert numbers(tmp_path / "log.jsonl.2") == [104, 105]
    assert len(list(tmp_path.iterdir())) == 3


def test_a_line_longer_than_a_file_is_written_all_the_same(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "log.jsonl", most_bytes=10)
    journal.append({"n": 1, "text": "x" * 100})
    journal.append({"n": 2})
    assert numbers(journal.path) == [2]
    assert numbers(tmp_path / "log.jsonl.1") == [1]


def test_what_is_no_object_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('[1]\nnothing\n{"n": 5}\n')
    assert list(Journal(tmp_path / "log.jsonl").documents()) == [{"n": 5}]
