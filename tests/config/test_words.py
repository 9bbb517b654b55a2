"""Sizes in bytes, the keys that take them, counted things, and guesses at misspellings."""

from __future__ import annotations

from pathlib import Path

import pytest

from dalcli.config.loading import load
from dalcli.config.words import bytes_text, counted, did_you_mean, parse_bytes, suggestion
from dalcli.errors import BadInputError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4096", 4096),
        ("4096B", 4096),
        ("2GiB", 2 * 1024**3),
        (" 1.5 GB ", 1_500_000_000),
        ("512mib", 512 * 1024**2),
        ("3K", None),
        ("1TiB", 1024**4),
        ("", None),
        ("-1MB", None),
        ("GiB", None),
        ("1.2.3MB", None),
        ("2 GX", None),
    ],
)
def test_sizes_with_units(text: str, expected: int | None) -> None:
    if expected is None:
        with pytest.raises(ValueError, match="512MiB, 2GiB"):
            parse_bytes(text)
    else:
        assert parse_bytes(text) == expected


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1024, "1 KiB"), (1.5 * 1024**3, "1.5 GiB"), (5 * 1024**4, "5 TiB")],
)
def test_sizes_for_people(count: float, text: str) -> None:
    assert bytes_text(count) == text


def test_scoring_keys(tmp_path: Path) -> None:
    path = tmp_path / "dalcli.yaml"
    path.write_text("scoring: {memory_limit: 1.5GB, batch_size: auto}\ndata: {cache: off}\n")
    config = load(path)
    assert (config.scoring.memory_limit, config.scoring.batch_size) == (1_500_000_000, "auto")
    assert config.data.cache is False
    path.write_text("scoring:\n  memory_limit: 20\n  batch_size: many\ndata:\n  cache: sometimes\n")
    with pytest.raises(BadInputError) as caught:
        load(path)
    assert [problem.split(": ")[:2] for problem in caught.value.problems] == [
        ["line 2", "scoring.memory_limit"],
        ["line 3", "scoring.batch_size"],
        ["line 5", "data.cache"],
    ]


def test_one_thing_is_not_many() -> None:
    assert [counted(n, "label") for n in (0, 1, 2)] == ["0 labels", "1 label", "2 labels"]
    assert [counted(n, "class", "classes") for n in (1, 3)] == ["1 class", "3 classes"]


def test_finds_the_closest_name_in_any_case() -> None:
    assert did_you_mean("catt", ["dog", "cat", "other"]) == "cat"
    assert did_you_mean("CAT", ["dog", "Cat"]) == "Cat"
    assert did_you_mean("labels", ["label", "path"]) == "label"


def test_says_nothing_when_nothing_is_close_or_the_word_itself_is_listed() -> None:
    assert did_you_mean("zebra", ["cat", "dog"]) is None
    assert did_you_mean("cat", ["cat"]) is None
    assert did_you_mean("cat", []) is None


def test_suggestion_is_ready_to_append() -> None:
    assert suggestion("catt", ["cat"]) == ": did you mean 'cat'?"
    assert suggestion("zebra", ["cat"]) == ""
