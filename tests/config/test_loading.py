"""``dalcli.yaml``: every problem at once, with its line, its key and what was probably meant."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from dalcli.config.loading import load, parse
from dalcli.config.schema import Config
from dalcli.errors import BadInputError


def problems(text: str) -> list[str]:
    with pytest.raises(BadInputError) as caught:
        parse(text)
    return list(caught.value.problems) or [caught.value.message]


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "query:\n", "data:\ntraining:\n"])
def test_nothing_said_means_the_defaults(text: str) -> None:
    assert parse(text) == Config()


def test_values_arrive() -> None:
    config = parse(
        "seed: 7\nclasses: ['no', cat]\ndata: {image_size: 32}\nquery:\n  gamma: inf\n"
        "training:\n  learning_rate: 1e-3\n  mixed_precision: off\n"
    )
    assert (config.seed, config.classes, config.data.image_size) == (7, ("no", "cat"), (32, 32))
    assert (config.query.gamma, config.training.learning_rate) == (math.inf, 0.001)
    assert config.training.mixed_precision == "off"
    assert parse("data: {image_size: [8, 9]}").data.image_size == (8, 9)
    assert parse("training: {mixed_precision: on}").training.mixed_precision == "on"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sed: 1\n", ["line 1: sed: unknown key: did you mean 'seed'?"]),
        ("\n\nquery:\n  zzz: 1\n", [
            "line 4: query.zzz: unknown key"
            " (known here: strategy, cold_start, gamma, budget, memory_limit, control, close_at, experts, compose)"
        ]),
        ("query: {compose: {selection: kmean++}}\n", [
            "line 1: query.compose.selection: should be 'top', 'kmeans++', 'k-center', 'lcmd' or 'clusters',"
            " got 'kmean++': did you mean 'kmeans++'?"
        ]),
        ("query: {compose: {weight: 1}}\n", [
            "line 1: query.compose: weight and relative belong to selection: kmeans++, not top"
        ]),
        ("seed: 1\nseed: 2\n", ["line 2: seed: listed twice"]),
        ("query:\n  gamma: 1\n  gamma: 2\n", ["line 3: query.gamma: listed twice"]),
        ("seed: true\n", ["line 1: seed: true (or yes, no, on, off) means nothing here"]),
        ("query: {budget: no}\n", ["line 1: query.budget: false (or yes, no, on, off) means nothing here"]),
        ("query: {gamma: .nan}\n", ["line 1: query.gamma: should be greater than or equal to 0, got nan"]),
        ("query: 3\n", ["line 1: query: should have keys of its own below it, got 3"]),
        ("classes: cat\n", ["line 1: classes: should be a list, got 'cat'"]),
        ("classes: [yes, no]\n", ["line 1: classes: class True is not text: put it in quotes"]),
        ("classes: [a, a]\n", ["line 1: classes: class 'a' is listed twice"]),
        ("classes: [a, ' b']\n", ["line 1: classes: class ' b' is empty or has spaces around it"]),
        ("data:\n  image_size: [1, 2, 3]\n", [
            "line 2: data.image_size: should be auto, a number of pixels, or [height, width]"
        ]),
        ("data:\n  image_size: [0, 2]\n", [
            "line 2: data.image_size.0: should be greater than or equal to 1, got 0"
        ]),
        ("training: {learning_rate: .inf}\n", ["line 1: training.learning_rate: should be a finite number, got inf"]),
        ("training: {min_epochs: 9, max_epochs: 3}\n", [
            "line 1: training: min_epochs (9) is larger than max_epochs (3)"
        ]),
        ("device: tpu\n", ["line 1: device: should be auto, cpu, cuda, cuda:1 or mps, got 'tpu'"]),
        ("1: x\n", ["line 1: 1: a key should be text, got 1"]),
        ("- a\n", ["dalcli.yaml: line 1: expected 'key: value' lines, found a list"]),
        ("hello\n", ["dalcli.yaml: line 1: expected 'key: value' lines, found text"]),
        ("seed: 1\nquery: [\n", [
            "dalcli.yaml: line 3: not valid YAML: expected the node content, but found '<stream end>'"
        ]),
        ("seed: &a [*a]\n", ["dalcli.yaml: an alias (*name) stands inside what it repeats"]),
        ("seed: !!python/name:os.system\n", [
            "dalcli.yaml: line 1: not valid YAML: could not determine a constructor for the tag"
            " 'tag:yaml.org,2002:python/name:os.system'"
        ]),
    ],
)  # fmt: skip
def test_what_is_wrong_and_where(text: str, expected: list[str]) -> None:
    assert problems(text) == expected


def test_all_problems_come_in_the_order_of_their_lines() -> None:
    found = problems("zeta: 1\nseed: -1\nquery:\n  close_at: 2\nalpha: 1\n")
    assert [line.split(":")[0] for line in found] == ["line 1", "line 2", "line 4", "line 5"]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no such configuration file"):
        load(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"# caf\xe9\n")
    with pytest.raises(BadInputError, match="cannot be read"):
        load(tmp_path / "latin.yaml")
    with pytest.raises(BadInputError, match=r"cannot be read: Is a directory\nname a YAML file"):
        load(tmp_path)
    (tmp_path / "bom.yaml").write_bytes(b"\xef\xbb\xbfseed: 3\r\n")
    assert load(tmp_path / "bom.yaml").seed == 3


def test_the_configuration_that_init_writes_says_what_it_chose() -> None:
    from dalcli.config.template import render

    text = render("resnet18", 0.25, Config(seed=5))
    config = parse(text)
    assert (config.seed, config.evaluation.reserve) == (5, 0.25)
    assert "`init` chose resnet18" in text
    changed = config.model_dump(exclude_unset=True)
    assert {key for section in changed.values() if isinstance(section, dict) for key in section} == {
        "image_size", "resize", "name", "accuracy_threshold", "max_epochs", "strategy", "reserve",
    }  # fmt: skip
    defaults = Config().model_dump()
    assert all(
        value == defaults[section][key]
        for section, values in changed.items()
        if isinstance(values, dict)
        for key, value in values.items()
        if key != "reserve"
    )
